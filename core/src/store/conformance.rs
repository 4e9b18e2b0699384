//! What every store must do, run on both. Each test has a database of its own.

mod asymmetric;
pub(super) mod audit;
mod contexts;
mod damage;
pub(super) mod fixture;
mod identities;
mod keys;
mod limits;
mod refresh;
mod replicas;
mod reservations;
mod restored;
mod revisions;
mod rewrap;
mod setup;
mod tampered;
mod tenants;
mod trail;

macro_rules! on_both_stores {
    ($($module:ident::{$($test:ident),+ $(,)?};)+) => {
        mod on_sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$module::$test(&super::fixture::Sqlite::new()).await;
                }
            )+)+
        }

        mod on_postgres {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::fixture::Postgres::with(async |fixture| super::$module::$test(fixture).await).await;
                }
            )+)+
        }
    };
}

on_both_stores! {
    setup::{
        a_database_without_schema_says_so,
        ten_may_migrate_at_once,
        a_newer_schema_is_accepted,
        an_older_schema_is_not,
        a_schema_may_exclude_old_releases,
        twelve_that_set_up_agree,
        key_encryption_keys_in_use_are_listed,
        everything_is_there_after_reopening,
        a_closed_store_is_unavailable,
    };
    contexts::{
        a_context_is_stored_with_its_key,
        names_are_unique_within_a_tenant,
        of_twelve_with_one_name_one_is_created,
        a_key_has_one_enabled_version,
        other_tenants_see_nothing,
        updates_change_what_they_name,
        deleted_contexts_are_kept_and_restored,
        lists_are_ordered_and_paged,
        a_destroyed_version_has_no_bytes,
    };
    reservations::{
        reservations_stop_at_the_limit,
        reservations_are_counted_once,
    };
    keys::{
        a_rotation_enables_the_next_version,
        of_twelve_rotations_at_once_one_applies,
        keep_last_disables_older_versions,
        a_key_under_another_kek_than_the_active_one_is_not_stored,
        states_change_one_way_only_from_where_they_are,
        what_is_due_is_destroyed_with_its_bytes,
        one_clock_that_is_ahead_destroys_nothing,
        what_is_due_for_rotation_is_found,
        a_rotation_does_not_bring_back_a_schedule_that_was_ended,
        use_is_added_up,
        versions_are_listed_newest_first,
    };
    asymmetric::{
        a_signing_key_is_stored_with_its_context,
        a_signing_key_under_another_kek_than_the_active_one_is_not_stored,
        signing_keys_are_listed_by_id_in_pages,
        a_signing_key_is_destroyed_when_its_time_has_come,
        a_transport_key_brings_one_key_and_is_gone,
        what_was_exported_has_half_of_its_messages_left,
    };
    replicas::{replicas_say_that_they_are_there, a_replica_that_ended_is_forgotten};
    rewrap::{
        a_kek_becomes_active_once_every_replica_alive_knows_it,
        a_change_of_the_kek_and_a_start_never_miss_each_other,
        wraps_are_exchanged_and_keys_stay,
        what_changed_meanwhile_is_not_overwritten,
        of_two_that_rewrap_at_once_each_key_is_done_once,
        a_damaged_row_hides_no_other,
    };
    identities::{
        identities_are_stored,
        identity_names_and_ids_are_unique_within_a_tenant,
        a_certificate_is_of_one_identity_in_the_deployment,
        updates_of_an_older_epoch_do_nothing,
        other_tenants_cannot_change_an_identity,
        what_decides_whether_tokens_count_is_read_at_once,
        of_one_identity_a_thousand_tokens_are_revoked_one_by_one,
        deleted_identities_are_gone,
        identities_are_listed_by_name,
    };
    tenants::{
        tenants_are_made_with_all_that_they_need_or_not_at_all,
        a_disabled_tenant_shows_at_its_identities,
        the_tokens_of_one_tenant_are_revoked,
    };
    limits::{
        policies_are_read_with_what_they_are_about,
        policies_are_about_somebody_who_is_there,
        a_reset_raises_the_generation,
        policies_are_listed_page_by_page,
        a_damaged_policy_is_an_error,
    };
    refresh::{
        a_refresh_token_is_found_with_all_that_decides_its_worth,
        of_twelve_that_rotate_one_token_one_does,
        an_identity_has_twenty_families_that_live,
        a_family_ends_together_with_what_it_made,
        nobody_buries_a_replaced_token_under_successors,
    };
    revisions::{
        every_change_raises_the_revision_by_one,
        what_fails_raises_nothing,
        incomplete_lists_are_not_given,
        old_changes_are_pruned,
        no_change_is_missed_while_many_are_made,
    };
    restored::{
        what_is_stale_becomes_worthless_at_once,
        a_destruction_is_repeated_and_nothing_else,
        destroyed_versions_are_listed_page_by_page,
        keys_that_others_have_are_worn_by_a_restore_too,
    };
    audit::{
        records_are_read_as_they_were_written,
        an_append_that_is_tried_again_is_written_once,
        a_process_taken_for_dead_goes_on_in_another_chain,
        the_audit_keys_are_made_once,
    };
    trail::{
        chains_of_silent_processes_are_ended_once,
        of_four_that_take_a_checkpoint_one_does,
        appends_go_on_while_days_are_prepared,
        retention_cuts_whole_days_and_says_so,
    };
    tampered::{
        no_record_hides_where_verification_does_not_look,
        what_was_cut_is_not_there_again,
        only_what_is_as_it_was_written_is_cut,
        a_checkpoint_or_a_row_that_was_changed_is_noticed_by_the_next,
    };
    damage::{damaged_rows_are_errors, a_missing_revision_is_an_error};
}
