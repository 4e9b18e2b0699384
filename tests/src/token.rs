//! Tokens from `cryptoserve token`.

use std::time::Duration;

use crate::program::Program;

/// What a token is asked for; [`crate::Cluster::token`] makes it.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    args: Vec<String>,
}

impl TokenRequest {
    /// A data-plane token of the identity `name`, which is made if it is new.
    pub fn identity(name: &str) -> Self {
        Self { args: vec!["--identity".to_owned(), name.to_owned()] }
    }

    /// A token of an administrator of the default tenant.
    pub fn admin() -> Self {
        Self { args: vec!["--admin".to_owned()] }
    }

    /// A token of the deployment's operator.
    pub fn operator() -> Self {
        Self { args: vec!["--operator".to_owned()] }
    }

    /// Of another tenant than `default`.
    pub fn tenant(mut self, name: &str) -> Self {
        self.args.extend(["--tenant".to_owned(), name.to_owned()]);
        self
    }

    /// Only for these contexts.
    pub fn contexts<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        self.args.extend(["--contexts".to_owned(), names.join(",")]);
        self
    }

    /// Valid for `ttl`, in whole seconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.args.extend(["--ttl".to_owned(), format!("{}s", ttl.as_secs())]);
        self
    }

    /// Runs `cryptoserve token` with the environment of `program`; standard output is the token alone.
    ///
    /// # Panics
    ///
    /// If the command fails or prints anything else.
    pub async fn make(&self, program: &Program) -> String {
        let program = self.args.iter().fold(program.clone().arg("token"), |program, arg| program.arg(arg));
        let done = program.run().await;
        assert!(done.status.success(), "cryptoserve token: {}\n{}", done.status, done.stderr);
        let token = done.stdout;
        assert!(
            token.split('.').count() == 3 && !token.contains(char::is_whitespace),
            "not a token: {token:?}"
        );
        token
    }
}
