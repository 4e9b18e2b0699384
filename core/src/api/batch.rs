mod outcome;

use std::sync::Arc;

use serde::Deserialize;

use self::outcome::BatchReply;
use self::outcome::Outcome;
use super::body::{Text, decode_optional};
use super::encrypt::{choose_algorithm, count_messages, seal};
use super::{Call, Error, Reply, extract, rewrap};
use crate::crypto::{KeyVersion, envelope};
use crate::keyring::LoadedKey;
use crate::limits::Cost;
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

/// A message to decrypt or to rewrap.
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
    let cost =
        cost(call, &request.items, |item| item.plaintext.decoded_length("plaintext").unwrap_or_default())?;
    let key = call.encryption_key(request.context.as_str()).await?;
    let algorithm = choose_algorithm(key.context(), request.algorithm_override.as_ref())?;
    call.charge(Some(key.context()), cost).await?;
    count_messages(call, &key, algorithm, cost.items.into()).await?;

    let mut outcome = Outcome::new(request.items.len(), request.fail_fast);
    for item in &request.items {
        if outcome.skip(item.id.as_str()) {
            continue;
        }
        let sealed = decode_optional(item.associated_data.as_ref(), "associated_data")
            .and_then(|associated_data| seal(&key, algorithm, &item.plaintext, &associated_data));
        outcome.push(item.id.as_str(), sealed, |result, (ciphertext, length)| {
            key.count_encrypts(1);
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
    let cost = cost(call, &request.items, |item| plaintext_len(&item.ciphertext))?;
    refuse_override(&request)?;
    let current = call.encryption_key(request.context.as_str()).await?;
    call.charge(Some(current.context()), cost).await?;

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

/// Encrypts up to 1000 messages of one context again, as `rewrap` does; costs as many tokens of each limit as there are
/// items.
#[utoipa::path(
    post,
    path = "/api/v1/crypto/batch/rewrap",
    tag = "Data plane",
    request_body = BatchRequest<'_, DecryptItem<'_>>,
    responses((status = 200, body = BatchReply<'_>), (status = "default", response = super::openapi::AnyProblem)),
)]
pub(super) async fn rewrap<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    let request: BatchRequest<'_, DecryptItem<'_>> = extract::json(body)?;
    let cost = cost(call, &request.items, |item| plaintext_len(&item.ciphertext))?;
    refuse_override(&request)?;
    let current = call.encryption_key(request.context.as_str()).await?;
    call.charge(Some(current.context()), cost).await?;
    count_messages(call, &current, current.context().algorithm, cost.items.into()).await?;

    let mut outcome = Outcome::new(request.items.len(), request.fail_fast);
    for item in &request.items {
        if outcome.skip(item.id.as_str()) {
            continue;
        }
        let rewrapped = rewrap_item(call, &current, item).await;
        outcome.push(item.id.as_str(), rewrapped, |result, (ciphertext, length, version)| {
            call.facts.bytes += length as u64;
            result.ciphertext = Some(base64_simd::STANDARD.encode_to_string(ciphertext));
            result.key_version = Some(version);
        })?;
    }
    Ok(outcome.reply(call))
}

/// The number of items, and the sum of their plaintexts' lengths. An item that cannot be worked on has none.
fn cost<S: Store, Item>(
    call: &mut Call<'_, S>,
    items: &[Item],
    plaintext_len: impl Fn(&Item) -> usize,
) -> Result<Cost, Error> {
    match u32::try_from(items.len()) {
        Ok(count) if count > 0 && items.len() <= MAX_ITEMS => {
            call.facts.items = count;
            Ok(Cost { items: count, bytes: items.iter().map(|item| plaintext_len(item) as u64).sum() })
        }
        _ => Err(Error::BatchSize(MAX_ITEMS)),
    }
}

/// How long the plaintext of a ciphertext in base64 is, by its first bytes and its length.
fn plaintext_len(ciphertext: &Text<'_>) -> usize {
    // 32 characters are 24 bytes: the prefix.
    let start =
        ciphertext.as_str().get(..32).and_then(|start| base64_simd::STANDARD.decode_to_vec(start).ok());
    let prefix = start.and_then(|start| envelope::Prefix::from_bytes(start.first_chunk()?).ok());
    let length = ciphertext.decoded_length("ciphertext").unwrap_or_default();
    prefix.map_or(0, |prefix| prefix.plaintext_len(length))
}

fn refuse_override<Item>(request: &BatchRequest<'_, Item>) -> Result<(), Error> {
    if request.algorithm_override.is_some() {
        return Err(Error::InvalidRequest("`algorithm_override` is for encryption only".to_owned()));
    }
    Ok(())
}

/// Decrypts one item, whose key must be of the context of `current`. Most items have its very version.
async fn open<S: Store>(
    call: &mut Call<'_, S>,
    current: &Arc<LoadedKey>,
    item: &DecryptItem<'_>,
) -> Result<(String, usize, KeyVersion), Error> {
    let mut ciphertext = item.ciphertext.decode("ciphertext")?;
    let prefix = envelope::Prefix::parse(&ciphertext)?;
    let key = item_key(call, current, prefix).await?;
    let keys = key.decryption_keys().ok_or(Error::KeyVersionDisabled)?;
    let associated_data = decode_optional(item.associated_data.as_ref(), "associated_data")?;
    let plaintext = envelope::open_in_place(keys, &mut ciphertext, &associated_data)?;
    key.count_decrypts(1);
    Ok((base64_simd::STANDARD.encode_to_string(&*plaintext), plaintext.len(), key.version()))
}

/// Encrypts one item again; also returns the length of its plaintext.
async fn rewrap_item<S: Store>(
    call: &mut Call<'_, S>,
    current: &Arc<LoadedKey>,
    item: &DecryptItem<'_>,
) -> Result<(Vec<u8>, usize, KeyVersion), Error> {
    let mut ciphertext = item.ciphertext.decode("ciphertext")?;
    let prefix = envelope::Prefix::parse(&ciphertext)?;
    let key = item_key(call, current, prefix).await?;
    let associated_data = decode_optional(item.associated_data.as_ref(), "associated_data")?;
    let plaintext = rewrap::open(&key, &mut ciphertext, &associated_data)?;
    // A replica that has not yet heard of a rotation must not bring a ciphertext back to the version before.
    let newest = if key.version() > current.version() { &key } else { current };
    if !Arc::ptr_eq(newest, current) && prefix.format == envelope::Format::Message {
        count_messages(call, newest, rewrap::algorithm(newest, prefix.format), 1).await?;
    }
    let sealed = rewrap::seal(newest, prefix.format, plaintext, &associated_data)?;
    Ok((sealed, plaintext.len(), newest.version()))
}

/// The key of an item, if it is of the context of `current`.
async fn item_key<S: Store>(
    call: &mut Call<'_, S>,
    current: &Arc<LoadedKey>,
    prefix: envelope::Prefix,
) -> Result<Arc<LoadedKey>, Error> {
    let context = current.context();
    if prefix.key_id != context.key_id {
        return Err(Error::ContextMismatch);
    }
    if prefix.version == current.version() {
        return Ok(current.clone());
    }
    let key = call.app.keyring.key_version(context.tenant, prefix.key_id, prefix.version).await?;
    let key = key.ok_or(Error::InvalidCiphertext("its key does not exist here"))?;
    if key.decryption_keys().is_none() {
        // So that whoever looks for those who still need it finds them.
        call.facts.refused_versions.insert(prefix.version);
        return Err(Error::KeyVersionDisabled);
    }
    Ok(key)
}
