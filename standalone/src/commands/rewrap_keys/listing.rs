//! The master keys of a deployment as text.

use std::fmt::Write;

use cryptoserve_core::master_key::{NextStep, Overview};

/// Everything that an operator wants to know between two steps of a change.
pub(super) fn text(overview: &Overview) -> String {
    let mut text = format!("{:<18}{:<8}{:<8}{}\n", "fingerprint", "active", "here", "wrapped keys");
    for key in &overview.keys {
        let [active, here] = [key.active, key.known_here].map(|is| if is { "yes" } else { "no" });
        // Writing to a String does not fail.
        let _ = writeln!(text, "{:<18}{active:<8}{here:<8}{}", key.id.to_string(), key.wrapped);
    }
    text.push_str("\nReplicas that are alive, and the master keys that they know:\n");
    if overview.replicas.is_empty() {
        text.push_str("  none\n");
    }
    for record in &overview.replicas {
        let known: Vec<_> = record.replica.kek_ids.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  {:<24}{}", record.replica.instance, known.join(" "));
    }
    text.push('\n');
    text.push_str(&advice(overview));
    text
}

/// What comes next.
pub(super) fn advice(overview: &Overview) -> String {
    let active = overview.active().map(|id| id.to_string()).unwrap_or_default();
    match overview.next_step() {
        None => format!(
            "Next: step 2 is not complete; run `cryptoserve rewrap-keys --to {active}` to go on with it.\n"
        ),
        Some(NextStep::Start) => {
            format!("Next: start the replicas with {active} as CRYPTOSERVE_MASTER_KEY.\n")
        }
        Some(NextStep::MakeKnown { key, replicas }) => format!(
            "Next: step 1, if {key} is the new master key: with it in CRYPTOSERVE_MASTER_KEY_PREVIOUS, start again: {}. \
             If it is the former one: step 4, start without it whatever still has it, and drop it here too.\n",
            replicas.join(", ")
        ),
        Some(NextStep::PutFirst) => format!(
            "Next: step 3, start every replica with {active} as CRYPTOSERVE_MASTER_KEY and the former one as \
             CRYPTOSERVE_MASTER_KEY_PREVIOUS.\n"
        ),
        Some(NextStep::DropOthers) => {
            "Next: step 2, `cryptoserve rewrap-keys --to` another fingerprint; or, if that is \
             done, step 4, start every replica without the former master key.\n"
                .to_owned()
        }
        Some(NextStep::Nothing) => "No change of the master key is under way.\n".to_owned(),
    }
}
