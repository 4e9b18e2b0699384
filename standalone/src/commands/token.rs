use std::io::Write;

use cryptoserve_core::app::set_up;
use cryptoserve_core::audit::{ChainWriter, Outcome, Record};
use cryptoserve_core::auth::{
    ContextGrant, Identity, IssuedToken, MAX_FAMILIES, MAX_REVOKED, Narrowing, RefreshFamily, RefreshToken,
    Tokens,
};
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::Config;
use cryptoserve_core::id::TenantId;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::name::Name;
use cryptoserve_core::store::{self, Opening, Store};

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
        let tenant = match &self.args.tenant {
            Some(name) => self.tenant(&store, name).await?,
            None => deployment.tenant.id,
        };
        let identity = self.identity(&store, tenant).await?;
        let narrowing = Narrowing { scopes: None, contexts: self.args.contexts.clone() };
        let family = self.args.refresh.then(|| {
            let detail = "issued by `cryptoserve token`".to_owned();
            RefreshFamily::new(&identity, narrowing.clone(), detail, self.clock.now())
        });
        let sid = family.as_ref().map(|family| family.id);
        let issued =
            self.tokens.issue(&identity, self.args.ttl, &narrowing, sid).map_err(Failure::configuration)?;
        let refresh_token = match &family {
            Some(family) => Some(open_family(&store, family).await?),
            None => None,
        };
        // Recorded before it is shown: a token that nobody knows of must not exist.
        let instance = &self.config.server.instance_id;
        let mut trail = ChainWriter::for_command(&store, &keks, instance, &self.clock).await?;
        trail.append(vec![self.record(&identity, &issued, family.as_ref())]).await?;
        trail.end().await?;
        store.close().await;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", issued.token.expose()).map_err(Failure::failed)?;
        match refresh_token {
            Some(token) => writeln!(output, "{}", token.text().expose()).map_err(Failure::failed),
            None => Ok(()),
        }
    }
}

impl Issue<'_> {
    async fn tenant<S: Store>(&self, store: &S, name: &Name) -> Result<TenantId, Failure> {
        match store.tenant(name).await? {
            Some(record) if record.enabled => Ok(record.tenant.id),
            Some(_) => Err(Failure::failed(format!(
                "the tenant `{name}` is disabled; an operator enables it with PUT /api/admin/tenants/{name}"
            ))),
            None => Err(Failure::failed(format!(
                "there is no tenant `{name}`; an operator makes it with POST /api/admin/tenants"
            ))),
        }
    }

    async fn identity<S: Store>(&self, store: &S, tenant: TenantId) -> Result<Identity, Failure> {
        let (name, role) = (self.args.name(), self.args.role());
        if let Some(identity) = store.identity_by_name(tenant, &name).await? {
            return self.check(identity);
        }
        let now = self.clock.now();
        let identity = Identity {
            contexts: self.args.contexts.clone().unwrap_or(ContextGrant::All),
            ..Identity::new(tenant, name.clone(), role, now)
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
        if identity.subject.is_some() {
            return Err(Failure::configuration(format!(
                "tokens of the identity `{name}` come from the outside identity provider; choose another name"
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

    fn record(&self, identity: &Identity, issued: &IssuedToken, family: Option<&RefreshFamily>) -> Record {
        let (name, role) = (&identity.name, identity.role.name());
        let mut detail = format!("token {} for identity {name} ({role})", issued.id);
        if let Some(family) = family {
            detail = format!("{detail}, refresh token {}", family.id);
        }
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
            detail: Some(detail),
        }
    }
}

async fn open_family<S: Store>(store: &S, family: &RefreshFamily) -> Result<RefreshToken, Failure> {
    let token = RefreshToken::generate(family.tenant).map_err(Failure::failed)?;
    let id = family.identity;
    Err(Failure::failed(match store.open_family(family, token.hash()).await? {
        Opening::Done => return Ok(token),
        Opening::TooManyFamilies => format!(
            "the identity has {MAX_FAMILIES} refresh tokens, which is as many as it may; an administrator lists them with \
             GET /api/admin/identities/{id}/tokens and revokes those that nobody uses"
        ),
        Opening::TooManyRevoked => format!(
            "{MAX_REVOKED} tokens of the identity are revoked, which is as many as are remembered; an administrator revokes \
             all of them with DELETE /api/admin/identities/{id}/tokens"
        ),
        Opening::IdentityChanged => "the identity was changed or deleted meanwhile; try again".to_owned(),
    }))
}
