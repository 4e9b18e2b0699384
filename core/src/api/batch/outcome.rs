use serde::Serialize;

use crate::api::{Call, Error, Reply, code, is_fault, reply};
use crate::crypto::KeyVersion;

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
    pub(super) ciphertext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plaintext: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub(super) key_version: Option<KeyVersion>,
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

/// Most versions that the audit trail names of one batch.
const MAX_VERSIONS_NAMED: usize = 20;
const NOT_ATTEMPTED: &str = "not_attempted";

/// The results of a batch as they come.
pub(super) struct Outcome<'a> {
    results: Vec<ItemResult<'a>>,
    failed: usize,
    fail_fast: bool,
}

impl<'a> Outcome<'a> {
    pub(super) fn new(items: usize, fail_fast: bool) -> Self {
        Self { results: Vec::with_capacity(items), failed: 0, fail_fast }
    }

    /// Reports an item that comes after the first failure as not attempted; whether it did.
    pub(super) fn skip(&mut self, id: &'a str) -> bool {
        if !(self.fail_fast && self.failed > 0) {
            return false;
        }
        let detail = "an earlier item failed and `fail_fast` is set".to_owned();
        self.fail(id, ItemError { code: NOT_ATTEMPTED, detail });
        true
    }

    /// Reports an item. What is wrong with the service rather than the item fails the whole batch.
    pub(super) fn push<T>(
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

    pub(super) fn reply<S>(self, call: &mut Call<'_, S>) -> Reply {
        call.facts.failed = u32::try_from(self.failed).expect("at most as many as items");
        if !call.facts.refused_versions.is_empty() {
            let versions =
                call.facts.refused_versions.iter().take(MAX_VERSIONS_NAMED).map(ToString::to_string);
            let versions = versions.collect::<Vec<_>>().join(", ");
            call.facts.detail = Some(format!("refused: versions that may not decrypt: {versions}"));
        }
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
