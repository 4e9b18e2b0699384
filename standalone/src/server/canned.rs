//! Replies to clients whose request never became one.

/// The connections are used up.
pub(super) const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Type: application/problem+json\r\nContent-Length: 167\r\n\r\n\
    {\"type\":\"urn:cryptoserve:problem:overloaded\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"too many connections; try again\",\"code\":\"overloaded\",\"request_id\":\"\"}";

/// The head of a request began and did not end in time.
pub(super) const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    Connection: close\r\nContent-Type: application/problem+json\r\nContent-Length: 170\r\n\r\n\
    {\"type\":\"urn:cryptoserve:problem:head_timeout\",\"title\":\"Request Timeout\",\"status\":408,\
    \"detail\":\"the request did not arrive in time\",\"code\":\"head_timeout\",\"request_id\":\"\"}";

/// Plain HTTP came where TLS is spoken.
pub(super) const TLS_EXPECTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Connection: close\r\nContent-Type: application/problem+json\r\nContent-Length: 170\r\n\r\n\
    {\"type\":\"urn:cryptoserve:problem:tls_required\",\"title\":\"Bad Request\",\"status\":400,\
    \"detail\":\"this port speaks TLS: use an https URL\",\"code\":\"tls_required\",\"request_id\":\"\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_problems_and_say_their_length() {
        for reply in [TOO_MANY_CONNECTIONS, HEAD_TIMEOUT, TLS_EXPECTED] {
            let text = std::str::from_utf8(reply).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length = format!("Content-Length: {}", body.len());
            assert!(head.lines().any(|line| line == length), "{length}");
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(head.starts_with(&format!(
                "HTTP/1.1 {} {}",
                problem["status"],
                problem["title"].as_str().unwrap()
            )));
        }
    }
}
