//! `cryptoserve doctor`: whether a deployment is as it should be, or with `--after-restore` makes a restored database fit
//! to serve.

mod after_restore;
mod examine;

use cryptoserve_core::config::Config;

use crate::cli::DoctorArgs;
use crate::exit::Failure;

/// Does what `args` say.
pub(crate) async fn doctor(config: Config, args: DoctorArgs) -> Result<(), Failure> {
    if args.after_restore {
        after_restore::run(config, args).await
    } else {
        examine::run(&config, &args).await
    }
}
