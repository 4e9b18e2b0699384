use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256};

use crate::id::{self, IdentityId, TenantId};
use crate::name::Name;

/// Binds the ids of applications to their purpose.
const LABEL: &str = "cryptoserve/v1/application";
/// Longest name of an application and of its environment, in bytes.
const MAX_LENGTH: usize = 255;
/// Longest readable part of an identity's name that a digest follows.
const MAX_READABLE: usize = 64 - 1 - DIGEST_LEN;
/// How much of a digest tells two names apart that read alike, in hexadecimal characters.
const DIGEST_LEN: usize = 12;

/// An application that registers itself: what it calls itself, and where it runs. Any text, unlike a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    name: String,
    environment: String,
}

/// The text cannot name an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to {MAX_LENGTH} bytes, and no control characters")]
pub struct InvalidApplication;

impl Application {
    /// Spaces at the ends do not count.
    ///
    /// # Errors
    ///
    /// [`InvalidApplication`] when either text is empty, too long, or has control characters.
    pub fn new(name: &str, environment: &str) -> Result<Self, InvalidApplication> {
        let [name, environment] = [name, environment].map(|text| {
            let text = text.trim();
            let valid = (1..=MAX_LENGTH).contains(&text.len()) && !text.contains(char::is_control);
            valid.then(|| text.to_owned()).ok_or(InvalidApplication)
        });
        Ok(Self { name: name?, environment: environment? })
    }

    /// The id of its identity: whoever registers the same application gets the same, nobody else does, and an identity of
    /// this id was made by a registration. A version 8 UUID (RFC 9562).
    pub fn identity(&self, tenant: TenantId) -> IdentityId {
        IdentityId::derived(id::derive(LABEL, &[tenant.as_bytes(), &self.digest()]))
    }

    /// The name of its identity: `billing-production` where both texts are plain. Others are brought into form, and a
    /// digest keeps those apart that would read alike; it stands behind `_`, as no environment does.
    pub fn identity_name(&self) -> Name {
        let plain = self.environment.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let readable = format!("{}-{}", self.name, self.environment);
        if plain && let Ok(name) = readable.parse() {
            return name;
        }
        let mut name = in_form(&readable);
        name.truncate(MAX_READABLE);
        name.push('_');
        for byte in &self.digest()[..DIGEST_LEN / 2] {
            let _ = write!(name, "{byte:02x}");
        }
        name.parse().expect("letters, digits, '-' and '_', not too many, and a letter or digit first")
    }

    /// Of both, such that no other two have the same.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        hash.update(self.name.as_bytes());
        // In neither text, as a control character.
        hash.update(&[0]);
        hash.update(self.environment.as_bytes());
        hash.finish().as_ref().try_into().expect("SHA-256 has this length")
    }
}

/// In lower case, with a hyphen for each run of what names do not have.
fn in_form(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    if joined.is_empty() { "application".to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn application(name: &str, environment: &str) -> Application {
        Application::new(name, environment).unwrap()
    }

    #[test]
    fn plain_names_stay_and_others_are_brought_into_form() {
        let name = |name, environment| application(name, environment).identity_name().to_string();
        assert_eq!(name("billing", "development"), "billing-development");
        assert_eq!(name("my_app.v2", "prod"), "my_app.v2-prod");
        assert_eq!(name(" billing ", "development\n"), "billing-development");
        for (text, environment, start) in [
            ("My Service", "development", "my-service-development_"),
            ("billing", "prod/eu", "billing-prod-eu_"),
            ("日本", "本", "application_"),
            (&"x".repeat(255), &"y".repeat(255), "xxxxxxxxxx"),
            ("-", "-", "application_"),
            ("Büro", "dev", "b-ro-dev_"),
        ] {
            let name = name(text, environment);
            assert!(name.starts_with(start) && Name::is_valid(&name), "{name}");
        }
    }

    #[test]
    fn no_two_applications_share_a_name_or_an_id() {
        let tenant = TenantId::random();
        let digest = application("My App", "dev").identity_name().to_string();
        let digest = digest.rsplit('_').next().unwrap().to_owned();
        let all = [
            application("a-b", "c"),
            application("a", "b-c"),
            application("a", "b_c"),
            application("A-B", "c"),
            application("my-app", "dev"),
            application("My App", "dev"),
            application("my app", "dev"),
            application("my-app-dev", &digest),
            application("my-app", &format!("dev_{digest}")),
            application(&format!("my-app-dev_{digest}"), "x"),
            application("日本", "dev"),
            application("本日", "dev"),
        ];
        let names: BTreeSet<_> = all.iter().map(|one| one.identity_name()).collect();
        let ids: BTreeSet<_> = all.iter().map(|one| one.identity(tenant)).collect();
        assert_eq!((names.len(), ids.len()), (all.len(), all.len()), "{names:?}");
        assert_ne!(all[0].identity(tenant), all[0].identity(TenantId::random()));
        assert_eq!(all[0].identity(tenant), application("a-b", "c").identity(tenant));
        // Once given out, an id is for ever.
        let known = application("billing", "production").identity(TenantId(uuid::Uuid::nil()));
        assert_eq!(known.to_string(), "3e64c3dc-b5ce-8192-86fc-b4e27bcf923a");
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (name, environment) in
            [("", "dev"), (" ", "dev"), ("a", ""), ("a\0b", "c"), ("a\nb", "c"), (&"x".repeat(256), "c")]
        {
            assert_eq!(Application::new(name, environment), Err(InvalidApplication));
        }
    }
}
