//! The AWS Lambda front.
