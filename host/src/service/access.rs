//! Who may do what: tokens, their roles and tenants. A token is 32 random bytes; what is kept of
//! it is a digest, so that whoever reads the registry cannot use it.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{PoisonError, RwLock},
};

use sha2::{Digest as _, Sha256};

use super::{Service, error::ServiceError, intake::is_post_of_records};
use crate::{
    clock::Clock,
    database::directory::sync,
    ids::{Hex, TenantId, TokenId},
    registry::{
        Changes, Registry, RegistryError,
        records::{Role, TokenRecord},
    },
    trace::SpanRef,
};

/// How every token begins, so that scanners of repositories find one that was left there.
pub const PREFIX: &str = "cfd_";
/// The file in the data directory that holds the first token.
pub const ADMIN_TOKEN: &str = "admin-token";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// By which token; none where the door is open.
    pub token: Option<TokenId>,
    /// Whose objects are theirs; every tenant's if none.
    pub tenant: Option<TenantId>,
    /// What they may do with them.
    pub role: Role,
    /// The span of the request, if it is traced.
    pub traced: Option<SpanRef>,
}

impl Caller {
    /// Whoever comes where no token is asked for.
    #[must_use]
    pub fn unasked() -> Self {
        Self { token: None, tenant: None, role: Role::Admin, traced: None }
    }

    /// That they may do what a role may.
    ///
    /// # Errors
    /// If not.
    pub fn require(&self, needs: Role) -> Result<(), ServiceError> {
        if self.role >= needs {
            return Ok(());
        }
        Err(ServiceError::Forbidden { needs, has: self.role })
    }

    /// That they may post records to sources.
    ///
    /// # Errors
    /// If not.
    pub fn require_post(&self) -> Result<(), ServiceError> {
        if self.role == Role::Ingest { Ok(()) } else { self.require(Role::Author) }
    }

    /// That they may ask for something at all: whoever may only post to sources may ask for nothing
    /// else, whatever that needs.
    ///
    /// # Errors
    /// If not.
    pub fn may_ask(&self, method_is_post: bool, path: &str) -> Result<(), ServiceError> {
        if self.role == Role::Ingest && !(method_is_post && is_post_of_records(path)) {
            return self.require(Role::Viewer);
        }
        Ok(())
    }

    /// Whether a tenant's objects are there for them.
    #[must_use]
    pub fn sees(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }

    /// The tenant that they speak of: the one that is named, else their own, else the default.
    ///
    /// # Errors
    /// If it is another than theirs: for them there is none of that name, whether or not.
    pub fn tenant(&self, named: Option<&TenantId>) -> Result<TenantId, ServiceError> {
        match (named, &self.tenant) {
            (Some(named), _) if !self.sees(named) => Err(no_tenant(named)),
            (Some(named), _) => Ok(named.clone()),
            (None, Some(own)) => Ok(own.clone()),
            (None, None) => Ok(TenantId::default()),
        }
    }
}

/// There is no tenant of that name.
pub(super) fn no_tenant(name: &TenantId) -> ServiceError {
    ServiceError::NotFound(format!("tenant `{name}`"))
}

/// A token that was just made, and is never shown again.
#[derive(Debug)]
pub struct FreshToken {
    /// What opens the door.
    pub secret: String,
    /// What is kept of it.
    pub record: TokenRecord,
}

/// What a token is to be for.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// What it is for, in words.
    pub name: String,
    /// Whose; every tenant's if none.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub role: Role,
    /// After when it opens nothing, in milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// All tokens, by digest: looked at for each request, so they are in memory.
#[derive(Debug)]
pub(super) struct Tokens(RwLock<HashMap<String, TokenRecord>>);

impl Tokens {
    pub(super) fn load(registry: &Registry) -> Result<Self, RegistryError> {
        let all = registry.all::<TokenRecord>(&[])?;
        Ok(Self(RwLock::new(all.into_iter().map(|t| (t.digest.clone(), t)).collect())))
    }

    fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn get(&self, digest: &str) -> Option<TokenRecord> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    pub(super) fn put(&self, record: TokenRecord) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(record.digest.clone(), record);
    }

    pub(super) fn all(&self) -> Vec<TokenRecord> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.values().cloned().collect();
        all.sort_by_key(|token| (token.created_at, token.id));
        all
    }

    /// Makes the first token, if there is none, and writes it where only this user reads it.
    /// Blocks.
    pub(super) fn first(&self, registry: &Registry, dir: &Path, clock: &Clock) -> io::Result<bool> {
        if !self.is_empty() {
            return Ok(false);
        }
        let fresh = fresh(
            &TokenRequest {
                name: "made at the first start".to_owned(),
                tenant: None,
                role: Role::Admin,
                expires_at: None,
            },
            clock,
        );
        // First the file: if the power goes in between, the next start makes another one.
        write_secret(dir, &fresh.secret)?;
        registry.change(Changes::new().put(&fresh.record)).map_err(io::Error::other)?;
        self.put(fresh.record);
        Ok(true)
    }
}

impl Service {
    /// Whose token this is; none if it opens nothing, for whatever reason.
    #[must_use]
    pub fn authenticate(&self, secret: &str) -> Option<Caller> {
        secret.strip_prefix(PREFIX)?;
        // Looking up a digest tells nobody by its time how much of a guess was right.
        self.caller_of(&digest(secret))
    }

    /// Whose token it is that has this digest; none if it opens nothing.
    pub(super) fn caller_of(&self, digest: &str) -> Option<Caller> {
        let record = self.tokens.get(digest)?;
        let now = self.clock.now_millis();
        let over = record.expires_at.is_some_and(|at| at <= now) || record.revoked_at.is_some();
        (!over).then(|| Caller {
            token: Some(record.id),
            tenant: record.tenant.clone(),
            role: record.role,
            traced: None,
        })
    }

    /// Makes a token. Blocks.
    ///
    /// # Errors
    /// If the caller is no admin; if it is to do more than the caller's own, or for somebody
    /// else; if there is no such tenant.
    pub fn make_token(
        &self,
        caller: &Caller,
        request: &TokenRequest,
    ) -> Result<FreshToken, ServiceError> {
        caller.require(Role::Admin)?;
        match &request.tenant {
            None if caller.tenant.is_some() => {
                return Err(ServiceError::Invalid(
                    "a tenant's admin makes tokens for that tenant: name it".to_owned(),
                ));
            }
            None => {}
            Some(tenant) => {
                caller.tenant(Some(tenant))?;
                self.tenant(tenant)?;
            }
        }
        let fresh = fresh(request, &self.clock);
        self.registry.change(Changes::new().put(&fresh.record))?;
        self.tokens.put(fresh.record.clone());
        Ok(fresh)
    }

    /// The tokens that a caller may see: their tenant's. Not what opens the door.
    ///
    /// # Errors
    /// If the caller is no admin.
    pub fn tokens(&self, caller: &Caller) -> Result<Vec<TokenRecord>, ServiceError> {
        caller.require(Role::Admin)?;
        let mut tokens = self.tokens.all();
        tokens.retain(|token| owns(caller, token));
        Ok(tokens)
    }

    /// Makes a token open nothing any more. Blocks.
    ///
    /// # Errors
    /// If the caller is no admin, or there is none of that name for them.
    pub fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<TokenRecord, ServiceError> {
        let mut found = self.tokens(caller)?.into_iter().filter(|token| token.id == id);
        let mut token =
            found.next().ok_or_else(|| ServiceError::NotFound(format!("token `{id}`")))?;
        if token.revoked_at.is_none() {
            token.revoked_at = Some(self.clock.now_millis());
            self.registry.change(Changes::new().put(&token))?;
            self.tokens.put(token.clone());
        }
        Ok(token)
    }
}

/// A tenant's admin has nothing to do with tokens for every tenant.
fn owns(caller: &Caller, token: &TokenRecord) -> bool {
    caller.tenant.is_none() || caller.tenant == token.tenant
}

fn fresh(request: &TokenRequest, clock: &Clock) -> FreshToken {
    let bytes: [u8; 32] = rand::random();
    let secret = format!("{PREFIX}{}", Hex(&bytes));
    let record = TokenRecord {
        digest: digest(&secret),
        id: TokenId(rand::random()),
        name: request.name.clone(),
        tenant: request.tenant.clone(),
        role: request.role,
        created_at: clock.now_millis(),
        expires_at: request.expires_at,
        revoked_at: None,
    };
    FreshToken { secret, record }
}

pub(super) fn digest(secret: &str) -> String {
    Hex(&Sha256::digest(secret)).to_string()
}

fn write_secret(dir: &Path, secret: &str) -> io::Result<()> {
    let (path, pending) = (dir.join(ADMIN_TOKEN), dir.join(".admin-token.pending"));
    let _ = fs::remove_file(&pending);
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create_new(true).mode(0o600).open(&pending)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&pending, &path)?;
    sync(dir)
}
