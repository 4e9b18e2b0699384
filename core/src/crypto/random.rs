//! Fresh random bytes, from aws-lc's generator alone.

use aws_lc_rs::rand;

use super::Error;

/// Fills `buffer` with random bytes.
///
/// # Errors
/// [`Error::Internal`] if the generator has none to give.
pub fn fill(buffer: &mut [u8]) -> Result<(), Error> {
    rand::fill(buffer).map_err(Error::internal)
}

/// `N` random bytes that are not secret, such as a nonce, a salt or an identifier; secrets are written in
/// place with [`fill`].
///
/// # Errors
/// [`Error::Internal`] if the generator has none to give.
pub fn array<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Makes the first draw of this process, which costs some 20 ms of entropy gathering, so that no request has to.
///
/// # Errors
/// [`Error::Internal`] if the generator has none to give.
pub fn warm_up() -> Result<(), Error> {
    array::<1>().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        let draws: [[u8; 16]; 8] = std::array::from_fn(|_| array().expect("the generator works"));
        for (i, draw) in draws.iter().enumerate() {
            assert!(!draws[..i].contains(draw));
        }
    }
}
