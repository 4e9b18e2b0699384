use crate::clock::Timestamp;

/// Writes fields such that no two lists of them come to the same bytes.
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Bytes of a fixed length.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn integer(&mut self, integer: u64) {
        self.raw(&integer.to_be_bytes());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.integer(time.as_micros());
    }

    pub(super) fn text(&mut self, text: &str) {
        // No column holds 4 GiB.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.raw(&length.to_be_bytes());
        self.raw(text.as_bytes());
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields of fixed lengths; `None` when the bytes end too early.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl Decoder<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn integer(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
