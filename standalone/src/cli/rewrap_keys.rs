use clap::Args;
use cryptoserve_core::crypto::KekId;

const HELP: &str = "\
A master key is changed in four steps, while the replicas serve:

  1. Make a new key (cryptoserve keygen prints one) and start every replica again, one after the
     other, with it as a further key:
       CRYPTOSERVE_MASTER_KEY=<old>  CRYPTOSERVE_MASTER_KEY_PREVIOUS=<new>
  2. With the same environment, look up the new key's fingerprint and change to it:
       cryptoserve rewrap-keys
       cryptoserve rewrap-keys --to <fingerprint>
  3. Start every replica again with the two exchanged:
       CRYPTOSERVE_MASTER_KEY=<new>  CRYPTOSERVE_MASTER_KEY_PREVIOUS=<old>
  4. Start every replica again without the old one:
       CRYPTOSERVE_MASTER_KEY=<new>

Step 2 can be stopped at any time and run again, also twice at once: it does what is left to do.
Ciphertexts stay as they are. Keep the old key as long as you keep backups from before step 2.
With the embedded store, the two variables are lines of secrets.env in DATA_DIR.

";

#[derive(Args, Debug)]
#[command(after_help = [HELP, super::EXIT_CODES].concat())]
pub(crate) struct RewrapKeysArgs {
    /// The fingerprint of the master key under which all keys are to be wrapped: 16 hexadecimal characters
    ///
    /// Without it nothing is changed: the master keys are listed with their fingerprints, how many keys each wraps, and
    /// which replicas know it.
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    pub(crate) to: Option<KekId>,
}

fn fingerprint(text: &str) -> Result<KekId, &'static str> {
    text.parse()
        .map_err(|_| "a fingerprint is 16 hexadecimal characters; `cryptoserve rewrap-keys` lists them")
}
