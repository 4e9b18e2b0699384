use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Response, header};

use super::{AuditQuery, filter};
use crate::api::stream::{Report, StreamError, TransferStream};
use crate::api::{Call, Error, extract};
use crate::audit::{Filter, Format, Order, Permit, Position, Record, StoredRecord};
use crate::limits::Cost;
use crate::store::Store;
use crate::telemetry::causes;

/// Records of one piece of the reply.
const PIECE: u32 = 1000;

/// An export that nothing can refuse any more.
pub(in crate::api) struct Export {
    format: Format,
    pages: stream::BoxStream<'static, Result<Vec<StoredRecord>, StreamError>>,
}

/// Gives all records of the audit trail that are recorded so far, the oldest first, as a stream: of the caller's tenant;
/// to operators, of all, and those of no tenant.
#[utoipa::path(
    get,
    path = "/api/admin/audit/export",
    tag = "Audit",
    params(
        ("format" = Option<String>, Query, description = "`ndjson`, which it is unless given, or `csv`"),
        ("from" = Option<String>, Query, description = "Recorded at this time (RFC 3339) or later"),
        ("to" = Option<String>, Query, description = "Recorded before this time; now unless given"),
        ("operation" = Option<String>, Query, description = "By its name, for example `encrypt`"),
        ("outcome" = Option<String>, Query, description = "`success`, `failure`, or a `code`"),
        ("identity_id" = Option<String>, Query),
        ("context" = Option<String>, Query),
        ("key_version" = Option<u32>, Query),
        ("request_id" = Option<String>, Query),
        ("instance" = Option<String>, Query),
        ("tenant" = Option<String>, Query, description = "By its name; for operators"),
    ),
    responses(
        (status = 200, content(
            (super::AuditRecord = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        (status = "default", response = crate::api::openapi::AnyProblem),
    ),
)]
pub(in crate::api) async fn open<S: Store>(call: &mut Call<'_, S>) -> Result<Export, Error> {
    call.charge(None, Cost::ONE).await?;
    let query: AuditQuery = extract::query(call.query)?;
    if query.limit.is_some() || query.cursor.is_some() {
        return Err(Error::InvalidRequest(
            "an export is all there is; `limit` and `cursor` are for lists".to_owned(),
        ));
    }
    let format = format(query.format.as_deref())?;
    let mut filter = filter(call, query).await?;
    // It ends, however much is recorded meanwhile.
    let now = call.app.time.now();
    filter.to = Some(filter.to.map_or(now, |to| to.min(now)));
    let mut pages = pages(call.app.store.clone(), filter);
    // What cannot be read at all is an error and no broken reply.
    let first = match pages.next().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(error.into()),
        None => Vec::new(),
    };
    let pages = stream::iter([Ok(first)]).chain(pages.map(|page| page.map_err(broken_off))).boxed();
    Ok(Export { format, pages })
}

fn format(asked: Option<&str>) -> Result<Format, Error> {
    let asked = asked.unwrap_or(Format::Ndjson.name());
    let format = Format::ALL.into_iter().find(|format| format.name() == asked);
    format.ok_or_else(|| Error::InvalidRequest("`format` is `ndjson` or `csv`".to_owned()))
}

/// The records, some at a time.
fn pages<S: Store>(
    store: S,
    filter: Filter,
) -> stream::BoxStream<'static, Result<Vec<StoredRecord>, crate::store::Error>> {
    enum At {
        Begin,
        Behind(Position),
        End,
    }
    let pages = stream::try_unfold((store, filter, At::Begin), async |(store, filter, at)| {
        let after = match at {
            At::Begin => None,
            At::Behind(position) => Some(position),
            At::End => return Ok(None),
        };
        let page = filter.page(&store, Order::OldestFirst, after, PIECE, 1).await?;
        Ok(Some((page.records, (store, filter, page.next.map_or(At::End, At::Behind)))))
    });
    pages.boxed()
}

fn broken_off(error: crate::store::Error) -> StreamError {
    let error = causes(&error);
    tracing::error!(%error, "an export of the audit trail broke off");
    StreamError::Store
}

impl Export {
    /// The reply, which writes `record` to the audit trail when it ends.
    pub(in crate::api) fn into_response(self, permit: Permit, record: Record) -> Response<TransferStream> {
        let format = self.format;
        let sending = Sending {
            format,
            pages: self.pages,
            begun: false,
            sent: 0,
            report: Report::new(permit, record, None),
        };
        let mut response = Response::new(stream::try_unfold(sending, Sending::next).boxed());
        let (content_type, disposition) = match format {
            Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"audit.ndjson\""),
            Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"audit.csv\""),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
        response
    }
}

/// An export on its way.
struct Sending {
    format: Format,
    pages: stream::BoxStream<'static, Result<Vec<StoredRecord>, StreamError>>,
    begun: bool,
    /// Records.
    sent: u64,
    report: Report,
}

impl Sending {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StreamError> {
        loop {
            let records = match self.pages.next().await {
                Some(Ok(records)) => records,
                Some(Err(error)) => {
                    self.report.failed(&error, tell(self.sent));
                    return Err(error);
                }
                None => {
                    self.report.done(tell(self.sent)).await?;
                    return Ok(None);
                }
            };
            self.sent += records.len() as u64;
            let mut piece = if self.begun { Vec::new() } else { self.format.head() };
            self.begun = true;
            piece.extend(self.format.lines(&records).map_err(|_| StreamError::Store)?);
            if !piece.is_empty() {
                return Ok(Some((piece.into(), self)));
            }
        }
    }
}

/// Writes down how much was read.
fn tell(sent: u64) -> impl FnOnce(&mut Record) {
    move |record| {
        let query = record.detail.take().map(|query| format!(": {query}")).unwrap_or_default();
        record.detail = Some(format!("{sent} records{query}"));
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.report.client_gone(tell(self.sent));
    }
}
