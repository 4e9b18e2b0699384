//! The program of `docs/quickstart.md`, from the next line but one on as it stands there.
#![expect(clippy::print_stdout, reason = "a program that shows something")]

use std::env;
use std::error::Error;

use base64_simd::STANDARD;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let plaintext = STANDARD.encode_to_string("hello");
    let sealed = call("encrypt", &json!({ "context": "user-pii", "plaintext": plaintext }))?;
    let opened = call("decrypt", &json!({ "ciphertext": sealed["ciphertext"] }))?;
    let plaintext = STANDARD.decode_to_vec(opened["plaintext"].as_str().ok_or("no plaintext")?)?;
    println!("{}", String::from_utf8(plaintext)?);
    Ok(())
}

fn call(operation: &str, body: &Value) -> Result<Value, Box<dyn Error>> {
    let mut reply = ureq::post(format!("{}/api/v1/crypto/{operation}", env::var("CRYPTOSERVE_SERVER")?))
        .header("Authorization", format!("Bearer {}", env::var("CRYPTOSERVE_TOKEN")?))
        // So that the reply can be read, which says what to do.
        .config()
        .http_status_as_error(false)
        .build()
        .send_json(body)?;
    let read: Value = reply.body_mut().read_json()?;
    if reply.status().is_success() { Ok(read) } else { Err(read["detail"].to_string().into()) }
}
