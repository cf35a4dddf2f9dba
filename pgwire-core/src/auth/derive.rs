//! The costly part of SCRAM: from a password to its keys.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stringprep::tables;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::secret::{Key, Password, ScramKeys, ScramVerifier, sha256};

/// A key derivation that is due: plain data, to be run on whatever thread can be spared.
pub struct DeriveJob {
    /// After SASLprep.
    password: Password,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl DeriveJob {
    /// A derivation outside an exchange, for making a verifier of a password that is known.
    #[must_use]
    pub fn new(password: &Password, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        Self { password: saslprep(password), salt, iterations }
    }

    /// How many rounds the derivation has; its cost is proportional to them.
    #[must_use]
    pub const fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Runs PBKDF2-HMAC-SHA-256 (RFC 8018, 5.2) and makes the keys (RFC 5802, 3). Around a
    /// millisecond for [`DEFAULT_ITERATIONS`](super::DEFAULT_ITERATIONS).
    #[must_use]
    pub fn run(self) -> DerivedKey {
        let salted = pbkdf2(self.password.as_bytes(), &self.salt, self.iterations);
        DerivedKey(ScramKeys {
            client_key: hmac(&*salted, &[b"Client Key"]),
            server_key: hmac(&*salted, &[b"Server Key"]),
            salt: self.salt,
            iterations: self.iterations,
        })
    }
}

impl fmt::Debug for DeriveJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeriveJob").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The result of a [`DeriveJob`].
#[derive(Debug, Clone)]
pub struct DerivedKey(pub(super) ScramKeys);

impl DerivedKey {
    /// The keys, to keep for later logins.
    #[must_use]
    pub fn into_keys(self) -> ScramKeys {
        self.0
    }

    /// The verifier, to check clients with and without a further derivation.
    #[must_use]
    pub fn verifier(&self) -> ScramVerifier {
        self.0.verifier()
    }
}

type HmacSha256 = Hmac<Sha256>;

fn keyed(key: &[u8]) -> HmacSha256 {
    // Filling the block oneself (RFC 2104, 2) makes the construction infallible.
    let mut block = Zeroizing::new([0; 64]);
    match block.get_mut(..key.len()) {
        Some(head) => head.copy_from_slice(key),
        None => block.split_at_mut(32).0.copy_from_slice(&*sha256(key)),
    }
    HmacSha256::new((&*block).into())
}

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn pbkdf2(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Key {
    let keyed = keyed(password);
    let round = |parts: &[&[u8]]| -> Key {
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    };
    // One block of output is all that SCRAM-SHA-256 takes, hence the block number 1.
    let mut last = round(&[salt, &1u32.to_be_bytes()]);
    let mut sum = last.clone();
    for _ in 1..iterations.get() {
        last = round(&[&*last]);
        for (byte, other) in sum.iter_mut().zip(last.iter()) {
            *byte ^= other;
        }
    }
    sum
}

/// SASLprep (RFC 4013) as PostgreSQL does it (`pg_saslprep`): what cannot be prepared is used as
/// it is, and prohibited characters are looked for before the normalization, not after it.
fn saslprep(password: &Password) -> Password {
    let raw = password.as_bytes();
    if raw.is_ascii() {
        return password.clone();
    }
    let Some(prepared) = core::str::from_utf8(raw).ok().and_then(prepare) else {
        return password.clone();
    };
    Password::new(prepared.as_bytes())
}

fn prepare(text: &str) -> Option<Zeroizing<String>> {
    let mut mapped = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        if tables::non_ascii_space_character(c) {
            mapped.push(' ');
        } else if !tables::commonly_mapped_to_nothing(c) {
            mapped.push(c);
        }
    }
    if mapped.is_empty() || mapped.chars().any(prohibited) || !bidirectional_ok(&mapped) {
        return None;
    }
    // Room for the worst case of NFKC (18 times, U+FDFA), so that no reallocation leaves a copy.
    let mut normal = Zeroizing::new(String::with_capacity(mapped.len().saturating_mul(18)));
    normal.extend(mapped.nfkc());
    Some(normal)
}

/// RFC 4013, 2.3 and 2.5.
fn prohibited(c: char) -> bool {
    tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// RFC 3454, 6: text with right-to-left characters has no left-to-right ones, and begins and ends
/// with a right-to-left one.
fn bidirectional_ok(text: &str) -> bool {
    !text.contains(tables::bidi_r_or_al)
        || (!text.contains(tables::bidi_l)
            && text.starts_with(tables::bidi_r_or_al)
            && text.ends_with(tables::bidi_r_or_al))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifiers that PostgreSQL 15 made (`CREATE ROLE ... PASSWORD`, database in UTF-8).
    #[test]
    fn postgresql_verifiers() {
        let vectors = [
            // plain
            (
                "pencil",
                "SCRAM-SHA-256$4096:hFm4Ddt/SnhXhSCEENq9HA==$nM+4lHdBPq2n++U7dcHxkqE5sJKAvoYWfIpAN++OVME=:Q5WPt+ipoFKnky58c+IcpFOiM6nua1vggZ0hoXnMSw4=",
            ),
            // mapped to nothing
            (
                "I\u{ad}X",
                "SCRAM-SHA-256$4096:PJWUOyfdILedOX50svjRhQ==$4rXS32b/Ng4Dfq9AT70F9w1kmZXLKLw5AV55suzHDrM=:uSFmXYdNl6Pusll5c7Lip30QJLSVdC4N9sCMx3heugY=",
            ),
            // nothing left: used as it is
            (
                "\u{ad}",
                "SCRAM-SHA-256$4096:sPaDDKjmqnPghgU5AHz1UQ==$Xu3iYvacmMMiJz2hXaJFOYq7j0l6t/i3zExI5v1d+HI=:FmSVNjrPNMF1fNeDnKyPao1dFVnm+1aTf+piF41/T4g=",
            ),
            // prohibited, though NFKC would turn it into what is not
            (
                "a\u{340}b",
                "SCRAM-SHA-256$4096:dqim93gj1QQoyrguyOQoXQ==$/6ZRmhxO2l+ki7I505vsAqOLHNikXGKMel6/ShKgiSo=:7dZmgIrJH3WYLI6lgEkJOvzcPvGu3frOhgqqqoqEJyE=",
            ),
            // spaces, a compatibility character
            (
                "\u{2168} \u{a0}x\u{3000}",
                "SCRAM-SHA-256$4096:t/I2jF5fdfOTPzC0VD6mHA==$Wt5n+felOdVohUTbu/3qx74ET9hy0T1kT0+wvhe0s1s=:ih6iqHQ6SjX/b7TGKcdhoEQYNw0c/ugGo+kfhwnhuws=",
            ),
            // right-to-left, wrong and right, and mixed with left-to-right
            (
                "\u{627}1",
                "SCRAM-SHA-256$4096:icinIuKuvxceFZK1YmcfvA==$tWkDZYjMhstzSkCVqjuBiDOFa1U6+XTY8Zw+nKpNe/M=:IhbR31tShmQYGr5pyk1WJHeUragxGiIxEdEPPYOI9EI=",
            ),
            (
                "\u{627}\u{628}\u{627}",
                "SCRAM-SHA-256$4096:GgWu2QvUgKuqAFLsiLJXZw==$1Dg6JLZ/Rb3ubJgj4KMfvug8uZv6ztRig57d6SibecU=:YbU5xa4fXHLAje7xNhsjOjxyvB/p4PLxiwQi5CWyv84=",
            ),
            (
                "a\u{627}",
                "SCRAM-SHA-256$4096:g/ba1Eob+Q5eDag0zWlv4Q==$r516ba/Na1NuZg7pahzt+SDDJHkDfReJ6ya3MpLCFH4=:S4JKodRuNbzVXPBM+MqNPNEqIxIuYUgrjlWHSg9YmK8=",
            ),
            // a control character
            (
                "ctl\u{7}\u{e9}",
                "SCRAM-SHA-256$4096:K43Y/1SSBpYNIgfDMOglEQ==$RVHPyKFNLwkT6Y/WHSZJf0KvP5A4M+E2ojdI+IdqHNI=:BcK6lIyTuATJD4Q+RWUuMtT7dw3Hd1CMq5o/3fehjdI=",
            ),
            // unassigned in Unicode 3.2
            (
                "\u{1F600} new",
                "SCRAM-SHA-256$4096:kauacQz4NFOntIuA70FMVA==$cdkLSCkGScy/s0PnpJ90UJx0AhwZIeYYocb2V1LeRLE=:S3DlciVlT3LJ5Tv66PnHk6anbdQzhLLosAK5NMoSmJ0=",
            ),
            // the longest NFKC expansion, composition, Hangul
            (
                "\u{FDFA}",
                "SCRAM-SHA-256$4096:gN0hmwj6VDZ3LVS+gHprkQ==$dO+f+VYcZ+ODi2DgsUY3ivXIUPWEZhawA4AodSV0njI=:TJOpQAmPAkl05vgrwzXvlQopoN0Vm11z0MHankbtUaA=",
            ),
            (
                "e\u{301}\u{200b}",
                "SCRAM-SHA-256$4096:5PkY7mjMWCBEt5yu9vX7zw==$B5xuDCJUrkBUeupTi6OAKZ1CEnxqfKgpwPi28BE1zow=:PopNip42SXP1ZkOF+Kr8d5CBvLVr7rVlvg6r717BdTA=",
            ),
            (
                "x\u{2126}\u{212b}",
                "SCRAM-SHA-256$4096:zVYnR3EdE9EKRdOdAxpbwA==$d9EHLvFPBY0SKVywXq/kNxPO5AqrOPPE/YbzIECMxJc=:TDkpzAEYNrXKkGWLfWJcFT05gqp/y4ZpQ/uCkVRYNzs=",
            ),
            (
                "\u{1100}\u{1161} \u{FF21}",
                "SCRAM-SHA-256$4096:PQnhA+jlPk1gYaFaiiTC8Q==$daVSUFpmAANhpldfjNzEQ0bLMs0BI60O9YEBu/iRBqQ=:HrfNytSYp8GorkhCnYJeD9Px+xfdvXHs+rdia+0AOxA=",
            ),
        ];
        for (password, stored) in vectors {
            let stored = ScramVerifier::parse(stored.as_bytes()).unwrap();
            let job = DeriveJob::new(
                &Password::new(password.as_bytes()),
                stored.salt().to_vec(),
                stored.iterations(),
            );
            assert!(job.run().verifier() == stored, "{password:?}");
        }
    }

    /// RFC 4231, test cases 2 and 6 (a key longer than the block).
    #[test]
    fn hmac_vectors() {
        let hex = |key: &[u8], parts: &[&[u8]]| {
            hmac(key, parts).iter().map(|b| alloc::format!("{b:02x}")).collect::<String>()
        };
        assert_eq!(
            hex(b"Jefe", &[b"what do ya want ", b"for nothing?"]),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_used_as_they_are() {
        let raw = Password::new(b"\xff\xc2\xadx");
        assert_eq!(saslprep(&raw).as_bytes(), raw.as_bytes());
    }
}
