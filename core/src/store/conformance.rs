//! What every store must do, run on both. Each test has a database of its own.

mod audit;
mod contexts;
mod damage;
pub(super) mod fixture;
mod identities;
mod reservations;
mod revisions;
mod setup;

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
    identities::{
        identities_are_stored,
        identity_names_are_unique_within_a_tenant,
        updates_of_an_older_epoch_do_nothing,
        other_tenants_cannot_change_an_identity,
        deleted_identities_are_gone,
        identities_are_listed_by_name,
    };
    revisions::{
        every_change_raises_the_revision_by_one,
        what_fails_raises_nothing,
        incomplete_lists_are_not_given,
        old_changes_are_pruned,
        no_change_is_missed_while_many_are_made,
    };
    audit::{records_are_appended_in_order, odd_text_costs_no_record};
    damage::{damaged_rows_are_errors, a_missing_revision_is_an_error};
}
