//! What both ends of a SCRAM exchange share: the grammar of the messages and the proofs.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::derive::hmac;
use super::secret::{Key, decode_key, sha256};
use super::{MAX_NONCE, MAX_SCRAM_MESSAGE, ProtocolViolation};

pub(super) const SCRAM: &[u8] = b"SCRAM-SHA-256";
pub(super) const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// The gs2 header of a client that uses the only channel binding PostgreSQL knows.
const GS2_BOUND: &[u8] = b"p=tls-server-end-point,,";

/// What a client says of channel binding (the gs2-cbind-flag of RFC 5802, 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// `n`: the client has none.
    Unsupported,
    /// `y`: the client has one and thinks that the server has none.
    NotOffered,
    /// `p=tls-server-end-point`.
    Used,
}

impl Binding {
    /// The gs2 header, always without an authorization identity.
    pub(super) const fn header(self) -> &'static [u8] {
        match self {
            Self::Unsupported => b"n,,",
            Self::NotOffered => b"y,,",
            Self::Used => GS2_BOUND,
        }
    }

    /// The value of the `c` attribute: the gs2 header, and the binding's data when it is used.
    pub(super) fn input(self, data: Option<&[u8]>) -> String {
        let data = data.filter(|_| self == Self::Used).unwrap_or_default();
        STANDARD.encode([self.header(), data].concat())
    }
}

/// Reads the `x=value` attributes of a SCRAM message one after the other.
pub(super) struct Attributes<'m> {
    message: &'m [u8],
    /// Where the next attribute begins; past the end when there is none.
    at: usize,
}

impl<'m> Attributes<'m> {
    pub(super) fn new(message: &'m [u8]) -> Result<Self, ProtocolViolation> {
        if message.len() > MAX_SCRAM_MESSAGE {
            return Err(ProtocolViolation::TooLong("SCRAM message"));
        }
        if message.contains(&0) {
            return Err(ProtocolViolation::Malformed("NUL in a SCRAM message"));
        }
        Ok(Self { message, at: 0 })
    }

    /// What precedes the next attribute and its comma.
    pub(super) fn passed(&self) -> &'m [u8] {
        self.message.get(..self.at.saturating_sub(1)).unwrap_or(self.message)
    }

    /// The next attribute's letter and value.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'m [u8])>, ProtocolViolation> {
        let Some(rest) = self.message.get(self.at..) else { return Ok(None) };
        let attribute = rest.split(|&b| b == b',').next().unwrap_or(rest);
        self.at = self.at.saturating_add(attribute.len()).saturating_add(1);
        match attribute {
            [name, b'=', value @ ..] if name.is_ascii_alphabetic() => Ok(Some((*name, value))),
            _ => Err(ProtocolViolation::Malformed("SCRAM attribute")),
        }
    }

    /// The value of the next attribute, which has to be the named one.
    pub(super) fn expect(&mut self, name: u8) -> Result<&'m [u8], ProtocolViolation> {
        match self.next()? {
            Some((found, value)) if found == name => Ok(value),
            _ => Err(ProtocolViolation::Malformed("SCRAM attribute missing")),
        }
    }

    /// The next attribute as a nonce: bounded, printable.
    pub(super) fn nonce(&mut self) -> Result<&'m [u8], ProtocolViolation> {
        let nonce = self.expect(b'r')?;
        if nonce.len() > MAX_NONCE {
            return Err(ProtocolViolation::TooLong("SCRAM nonce"));
        }
        if nonce.is_empty() || !nonce.iter().all(u8::is_ascii_graphic) {
            return Err(ProtocolViolation::Malformed("SCRAM nonce"));
        }
        Ok(nonce)
    }

    /// Checks that only extensions follow; those that need not be understood are passed over
    /// (RFC 5802, 5.1).
    pub(super) fn finish(mut self) -> Result<(), ProtocolViolation> {
        while self.next()?.is_some() {}
        Ok(())
    }
}

/// The client-first-message-bare, the server-first-message and the
/// client-final-message-without-proof, joined: what both sides sign.
pub(super) fn auth_message(
    client_first: &[u8],
    server_first: &[u8],
    client_final: &[u8],
) -> Vec<u8> {
    [client_first, server_first, client_final].join(&b',')
}

/// ClientProof: the client key, covered with a signature that the holder of the stored key can
/// make too.
pub(super) fn client_proof(client_key: &Key, auth_message: &[u8]) -> Key {
    let signature = hmac(&*sha256(&**client_key), &[auth_message]);
    xor(client_key, &signature)
}

/// The client key that the proof covers, when it is the one of the stored key.
pub(super) fn open_proof(proof: &Key, stored_key: &Key, auth_message: &[u8]) -> Option<Key> {
    let client_key = xor(proof, &hmac(&**stored_key, &[auth_message]));
    let known: bool = sha256(&*client_key).ct_eq(&**stored_key).into();
    known.then_some(client_key)
}

/// ServerSignature.
pub(super) fn server_signature(server_key: &Key, auth_message: &[u8]) -> Key {
    hmac(&**server_key, &[auth_message])
}

/// `v=<signature>`, the server-final-message.
pub(super) fn server_final(signature: &Key) -> Zeroizing<String> {
    let mut message = Zeroizing::new(String::from("v="));
    STANDARD.encode_string(signature.as_slice(), &mut message);
    message
}

/// A proof or signature: 32 bytes of base64.
pub(super) fn decode_proof(base64: &[u8]) -> Result<Key, ProtocolViolation> {
    decode_key(base64).ok_or(ProtocolViolation::Malformed("SCRAM proof or signature"))
}

/// A nonce, or one end's part of it, as text.
pub(super) fn encode_nonce(nonce: [u8; 18]) -> String {
    STANDARD.encode(nonce)
}

fn xor(a: &Key, b: &Key) -> Key {
    let mut sum = a.clone();
    for (byte, other) in sum.iter_mut().zip(b.iter()) {
        *byte ^= other;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT_ITERATIONS, DeriveJob, Password};
    use super::*;

    const SERVER_FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn rfc_7677_vector() {
        let mut attributes = Attributes::new(SERVER_FIRST).unwrap();
        let nonce = attributes.nonce().unwrap();
        let salt = STANDARD.decode(attributes.expect(b's').unwrap()).unwrap();
        attributes.next().unwrap().unwrap();
        attributes.finish().unwrap();
        let keys =
            DeriveJob::new(&Password::new(b"pencil"), salt, DEFAULT_ITERATIONS).run().into_keys();

        let without_proof =
            [b"c=", Binding::Unsupported.input(None).as_bytes(), b",r=", nonce].concat();
        let signed = auth_message(b"n=user,r=rOprNGfwEbeRWgbNEkqO", SERVER_FIRST, &without_proof);
        let proof = client_proof(&keys.client_key, &signed);
        assert_eq!(STANDARD.encode(*proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let signature = server_signature(&keys.server_key, &signed);
        assert_eq!(
            server_final(&signature).as_str(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );

        let recovered = open_proof(&proof, &sha256(&*keys.client_key), &signed).unwrap();
        assert_eq!(recovered, keys.client_key);
        assert!(open_proof(&signature, &sha256(&*keys.client_key), &signed).is_none());
    }

    #[test]
    fn attributes_know_what_they_passed() {
        let mut attributes = Attributes::new(b"c=biws,r=abc,x=1,p=AA==").unwrap();
        assert_eq!(attributes.passed(), b"");
        assert_eq!(attributes.expect(b'c').unwrap(), b"biws");
        assert_eq!(attributes.nonce().unwrap(), b"abc");
        assert_eq!(attributes.next().unwrap(), Some((b'x', &b"1"[..])));
        assert_eq!(attributes.passed(), b"c=biws,r=abc,x=1");
        assert_eq!(attributes.next().unwrap(), Some((b'p', &b"AA=="[..])));
        assert_eq!(attributes.next().unwrap(), None);
    }

    #[test]
    fn a_trailing_comma_is_an_empty_attribute() {
        let mut attributes = Attributes::new(b"r=abc,").unwrap();
        attributes.nonce().unwrap();
        assert!(attributes.finish().is_err());
        assert!(Attributes::new(b"").unwrap().finish().is_err());
    }

    #[test]
    fn the_binding_data_is_part_of_the_input_only_when_used() {
        assert_eq!(Binding::Unsupported.input(Some(b"hash")), "biws");
        assert_eq!(Binding::NotOffered.input(Some(b"hash")), "eSws");
        assert_eq!(
            STANDARD.decode(Binding::Used.input(Some(b"hash"))).unwrap(),
            b"p=tls-server-end-point,,hash"
        );
    }
}
