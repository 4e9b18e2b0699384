use std::io::Write;

use cryptoserve_core::app::set_up;
use cryptoserve_core::audit::{Outcome, Record};
use cryptoserve_core::auth::{ContextGrant, Identity, Narrowing, Tokens};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::Config;
use cryptoserve_core::id::{IdentityId, TenantId};
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::{self, Store};

use crate::cli::TokenArgs;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;

/// Prints a token on standard output, after making its identity if there is none.
pub(crate) async fn token(config: Config, args: TokenArgs) -> Result<(), Failure> {
    Tokens::check_ttl(args.role(), args.ttl).map_err(Failure::configuration)?;
    let opened = Opened::for_command(&config)?;
    let clock = Clock::system();
    let tokens = Tokens::new(&opened.secrets.jwt_key, &[], clock.clone());
    opened.with_store(&config, Issue { config: &config, args, tokens, clock }).await
}

struct Issue<'a> {
    config: &'a Config,
    args: TokenArgs,
    tokens: Tokens,
    clock: Clock,
}

impl WithStore for Issue<'_> {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        let deployment = set_up(&store, &keks, self.config.database.migrate, &self.clock).await?;
        let identity = self.identity(&store, deployment.tenant.id).await?;
        let narrowing = Narrowing { scopes: None, contexts: self.args.contexts.clone() };
        let issued =
            self.tokens.issue(&identity, self.args.ttl, &narrowing).map_err(Failure::configuration)?;
        // Recorded before it is shown: a token that nobody knows of must not exist.
        store.append_audit(&[self.record(&identity)]).await?;
        store.close().await;
        writeln!(std::io::stdout().lock(), "{}", issued.token.expose()).map_err(Failure::failed)
    }
}

impl Issue<'_> {
    async fn identity<S: Store>(&self, store: &S, tenant: TenantId) -> Result<Identity, Failure> {
        let (name, role) = (self.args.name(), self.args.role());
        if let Some(identity) = store.identity_by_name(tenant, &name).await? {
            return self.check(identity);
        }
        let now = self.clock.now();
        let identity = Identity {
            id: IdentityId::random(),
            tenant,
            name: name.clone(),
            role,
            scopes: role.scopes(),
            contexts: self.args.contexts.clone().unwrap_or(ContextGrant::All),
            epoch: 0,
            enabled: true,
            created_at: now,
            updated_at: now,
        };
        match store.create_identity(&identity).await {
            Ok(()) => Ok(identity),
            // Another process was faster.
            Err(store::Error::Exists) => match store.identity_by_name(tenant, &name).await? {
                Some(identity) => self.check(identity),
                None => Err(Failure::failed("the identity was deleted meanwhile; try again")),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an identity that exists can have the token that was asked for.
    fn check(&self, identity: Identity) -> Result<Identity, Failure> {
        let name = &identity.name;
        if identity.role != self.args.role() {
            return Err(Failure::configuration(format!(
                "the identity `{name}` exists with the role {}; choose another name",
                identity.role.name(),
            )));
        }
        if !identity.enabled {
            return Err(Failure::failed(format!(
                "the identity `{name}` is disabled; an administrator enables it with PUT /api/admin/identities/{}",
                identity.id,
            )));
        }
        if let Some(ContextGrant::Named(names)) = &self.args.contexts
            && let Some(refused) = names.iter().find(|context| !identity.contexts.allows(context))
        {
            return Err(Failure::failed(format!(
                "the identity `{name}` may not use `{refused}`, and a token cannot widen that; an administrator \
                 changes it with PUT /api/admin/identities/{}",
                identity.id,
            )));
        }
        Ok(identity)
    }

    fn record(&self, identity: &Identity) -> Record {
        Record {
            at: self.clock.now(),
            instance: self.config.server.instance_id.as_str().into(),
            request_id: String::new(),
            tenant: Some(identity.tenant),
            identity: Some(identity.id),
            operation: "command.token",
            context: None,
            key_version: None,
            outcome: Outcome::Success,
            items: 1,
            failed: 0,
            bytes: 0,
            address: None,
            detail: Some(format!("token for identity {} ({})", identity.name, identity.role.name())),
        }
    }
}
