use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::body::{Text, decode_optional};
use super::encrypt::{choose_algorithm, count_messages, seal};
use super::{Call, Error, Reply, code, extract, is_fault, reply};
use crate::crypto::{KeyVersion, envelope};
use crate::keyring::LoadedKey;
use crate::store::Store;

/// Most items of a batch.
pub(super) const MAX_ITEMS: usize = 1000;

/// Messages of one context.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest<'a, Item> {
    #[serde(borrow)]
    #[schema(value_type = String, example = "user-pii")]
    context: Text<'a>,
    /// One of the context's `allowed_algorithms` instead of its own; for encryption only.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    algorithm_override: Option<Text<'a>>,
    /// 1 to 1000.
    items: Vec<Item>,
    /// Whether to stop at the first item that fails; later ones are then reported as `not_attempted`.
    #[serde(default)]
    fail_fast: bool,
}

/// A message to encrypt.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncryptItem<'a> {
    /// Repeated in the result.
    #[serde(borrow)]
    #[schema(value_type = String)]
    id: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    plaintext: Text<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    associated_data: Option<Text<'a>>,
}

/// A message to decrypt.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecryptItem<'a> {
    /// Repeated in the result.
    #[serde(borrow)]
    #[schema(value_type = String)]
    id: Text<'a>,
    #[serde(borrow)]
    #[schema(value_type = String, format = Byte)]
    ciphertext: Text<'a>,
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = Byte)]
    associated_data: Option<Text<'a>>,
}

/// What became of each item, in the order of the request.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct BatchReply<'a> {
    total: usize,
    successful: usize,
    failed: usize,
    results: Vec<ItemResult<'a>>,
}

/// What became of an item: `ciphertext` or `plaintext`, or else `error`.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ItemResult<'a> {
    id: &'a str,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    key_version: Option<KeyVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ItemError>,
}

/// Why an item failed.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ItemError {
    /// Stable, as in a problem document.
    #[schema(value_type = String)]
    code: &'static str,
    /// For a person.
    detail: String,
}

const NOT_ATTEMPTED: &str = "not_attempted";

/// Encrypts up to 1000 messages of one context; costs as many tokens of each limit as there are items.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/batch/encrypt",
    tag = "Data plane",
    request_body = BatchRequest<'_, EncryptItem<'_>>,
    responses((status = 200, body = BatchReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn encrypt<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: BatchRequest<'_, EncryptItem<'_>> = extract::json(body)?;
    let cost = cost(call, &request.items)?;
    let key = call.encryption_key(request.context.as_str()).await?;
    let algorithm = choose_algorithm(key.context(), request.algorithm_override.as_ref())?;
    call.charge(Some(key.context()), cost)?;
    count_messages(call, &key, algorithm, cost.into()).await?;

    let mut outcome = Outcome::new(request.items.len(), request.fail_fast);
    for item in &request.items {
        if outcome.skip(item.id.as_str()) {
            continue;
        }
        let sealed = decode_optional(item.associated_data.as_ref(), "associated_data")
            .and_then(|associated_data| seal(&key, algorithm, &item.plaintext, &associated_data));
        outcome.push(item.id.as_str(), sealed, |result, (ciphertext, length)| {
            call.facts.bytes += length as u64;
            result.ciphertext = Some(base64_simd::STANDARD.encode_to_string(ciphertext));
            result.key_version = Some(key.version());
        })?;
    }
    Ok(outcome.reply(call))
}

/// Decrypts up to 1000 messages of one context; costs as many tokens of each limit as there are items.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/batch/decrypt",
    tag = "Data plane",
    request_body = BatchRequest<'_, DecryptItem<'_>>,
    responses((status = 200, body = BatchReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn decrypt<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: BatchRequest<'_, DecryptItem<'_>> = extract::json(body)?;
    let cost = cost(call, &request.items)?;
    if request.algorithm_override.is_some() {
        return Err(Error::InvalidRequest("`algorithm_override` is for encryption only".to_owned()));
    }
    let current = call.encryption_key(request.context.as_str()).await?;
    call.charge(Some(current.context()), cost)?;

    let mut outcome = Outcome::new(request.items.len(), request.fail_fast);
    for item in &request.items {
        if outcome.skip(item.id.as_str()) {
            continue;
        }
        let opened = open(call, &current, item).await;
        outcome.push(item.id.as_str(), opened, |result, (plaintext, length, version)| {
            call.facts.bytes += length as u64;
            result.plaintext = Some(plaintext);
            result.key_version = Some(version);
        })?;
    }
    Ok(outcome.reply(call))
}

/// The number of items, which is what the batch costs.
fn cost<S: Store, Item>(call: &mut Call<'_, S>, items: &[Item]) -> Result<u32, Error> {
    match u32::try_from(items.len()) {
        Ok(count) if count > 0 && items.len() <= MAX_ITEMS => {
            call.facts.items = count;
            Ok(count)
        }
        _ => Err(Error::BatchSize(MAX_ITEMS)),
    }
}

/// Decrypts one item, whose key must be of the context of `current`. Most items have its very version.
async fn open<S: Store>(
    call: &Call<'_, S>,
    current: &Arc<LoadedKey>,
    item: &DecryptItem<'_>,
) -> Result<(String, usize, KeyVersion), Error> {
    let mut ciphertext = item.ciphertext.decode("ciphertext")?;
    let prefix = envelope::Prefix::parse(&ciphertext)?;
    let context = current.context();
    if prefix.key_id != context.key_id {
        return Err(Error::ContextMismatch);
    }
    let key = if prefix.version == current.version() {
        current.clone()
    } else {
        let key = call.app.keyring.key_version(context.tenant, prefix.key_id, prefix.version).await?;
        key.ok_or(Error::InvalidCiphertext("its key does not exist here"))?
    };
    let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let associated_data = decode_optional(item.associated_data.as_ref(), "associated_data")?;
    let plaintext = envelope::open_in_place(keys, &mut ciphertext, &associated_data)?;
    Ok((base64_simd::STANDARD.encode_to_string(&*plaintext), plaintext.len(), key.version()))
}

struct Outcome<'a> {
    results: Vec<ItemResult<'a>>,
    failed: usize,
    fail_fast: bool,
}

impl<'a> Outcome<'a> {
    fn new(items: usize, fail_fast: bool) -> Self {
        Self { results: Vec::with_capacity(items), failed: 0, fail_fast }
    }

    /// Reports an item that comes after the first failure as not attempted; whether it did.
    fn skip(&mut self, id: &'a str) -> bool {
        if !(self.fail_fast && self.failed > 0) {
            return false;
        }
        let detail = "an earlier item failed and `fail_fast` is set".to_owned();
        self.fail(id, ItemError { code: NOT_ATTEMPTED, detail });
        true
    }

    /// Reports an item. What is wrong with the service rather than the item fails the whole batch.
    fn push<T>(
        &mut self,
        id: &'a str,
        result: Result<T, Error>,
        fill: impl FnOnce(&mut ItemResult<'a>, T),
    ) -> Result<(), Error> {
        match result {
            Ok(value) => {
                let mut item = ItemResult::new(id);
                item.success = true;
                fill(&mut item, value);
                self.results.push(item);
                Ok(())
            }
            Err(error) => {
                if is_fault(&error) {
                    return Err(error);
                }
                self.fail(id, ItemError { code: code(&error), detail: error.to_string() });
                Ok(())
            }
        }
    }

    fn fail(&mut self, id: &'a str, error: ItemError) {
        self.failed += 1;
        self.results.push(ItemResult { error: Some(error), ..ItemResult::new(id) });
    }

    fn reply<S>(self, call: &mut Call<'_, S>) -> Reply {
        call.facts.failed = u32::try_from(self.failed).expect("at most as many as items");
        let total = self.results.len();
        reply(&BatchReply {
            total,
            successful: total - self.failed,
            failed: self.failed,
            results: self.results,
        })
    }
}

impl<'a> ItemResult<'a> {
    fn new(id: &'a str) -> Self {
        Self { id, success: false, ciphertext: None, plaintext: None, key_version: None, error: None }
    }
}
