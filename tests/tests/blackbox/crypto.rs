mod batch;
mod round_trip;
mod stream;
mod tampering;
