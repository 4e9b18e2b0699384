use super::row::{Columns, damaged};
use super::{Database, Statement};
use crate::store::Error;

/// The version of a release's last migration.
pub(crate) fn latest(runner: &refinery::Runner) -> i32 {
    runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// Whether the schema is at least `latest`, this release's last migration, and still allows this release.
pub(crate) async fn check(database: &impl Database, latest: i32) -> Result<(), Error> {
    check_allowed(database).await?;
    let applied =
        Statement::new("SELECT coalesce(max(version), 0) AS version FROM refinery_schema_history", []);
    let applied = database.read(applied, |row| row.integer::<i32>("version")).await?;
    if applied.iter().any(|&applied| applied >= latest) { Ok(()) } else { Err(Error::NoSchema) }
}

/// Whether the schema still allows this release.
pub(crate) async fn check_allowed(database: &impl Database) -> Result<(), Error> {
    let oldest = Statement::new("SELECT oldest_release FROM schema_compat", []);
    let oldest = database.read(oldest, parse_oldest).await?.pop().ok_or(Error::NoSchema)?;
    check_release(env!("CARGO_PKG_VERSION"), oldest)
}

fn parse_oldest(row: &dyn Columns) -> Result<String, Error> {
    row.text("oldest_release")
}

pub(crate) fn check_release(own: &str, oldest: String) -> Result<(), Error> {
    let needed = release(&oldest).ok_or_else(|| damaged("oldest_release"))?;
    if release(own) >= Some(needed) { Ok(()) } else { Err(Error::TooOld { oldest }) }
}

/// Major, minor and patch; what comes before a release counts as that release.
fn release(text: &str) -> Option<[u64; 3]> {
    let text = text.split(['-', '+']).next()?;
    let numbers: Vec<u64> = text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OLDEST_COMPATIBLE_RELEASE;

    #[test]
    fn releases_are_compared_as_numbers() {
        let allowed = |own, oldest: &str| check_release(own, oldest.to_owned());
        assert!(allowed("0.10.0", "0.9.9").is_ok());
        assert!(allowed("1.0.0-rc.1", "1.0.0").is_ok());
        assert!(matches!(allowed("0.9.9", "0.10.0"), Err(Error::TooOld { oldest }) if oldest == "0.10.0"));
        assert!(matches!(allowed("0.9.9", "soon"), Err(Error::Invalid(_))));
        assert!(allowed(env!("CARGO_PKG_VERSION"), OLDEST_COMPATIBLE_RELEASE).is_ok());
    }
}
