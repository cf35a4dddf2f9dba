//! Booleans, integers, durations and sizes as `pgpool.conf` writes them.
//!
//! All functions take the value without its quotes.

use core::time::Duration;

/// A unit of time, as a suffix of a value or as the unit of a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `us`
    Microseconds,
    /// `ms`
    Milliseconds,
    /// `s`
    Seconds,
    /// `min`
    Minutes,
    /// `h`
    Hours,
    /// `d`
    Days,
}

impl TimeUnit {
    /// Every unit, the smallest first.
    pub const ALL: [Self; 6] = [
        Self::Microseconds,
        Self::Milliseconds,
        Self::Seconds,
        Self::Minutes,
        Self::Hours,
        Self::Days,
    ];

    /// The suffix that stands for the unit; letter case matters.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "min",
            Self::Hours => "h",
            Self::Days => "d",
        }
    }

    const fn nanos(self) -> u128 {
        match self {
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60_000_000_000,
            Self::Hours => 3_600_000_000_000,
            Self::Days => 86_400_000_000_000,
        }
    }
}

/// A unit of memory, as a suffix of a value or as the unit of a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeUnit {
    /// `B`
    Bytes,
    /// `kB`, 1024 bytes
    Kilobytes,
    /// `MB`
    Megabytes,
    /// `GB`
    Gigabytes,
    /// `TB`
    Terabytes,
}

impl SizeUnit {
    /// Every unit, the smallest first.
    pub const ALL: [Self; 5] =
        [Self::Bytes, Self::Kilobytes, Self::Megabytes, Self::Gigabytes, Self::Terabytes];

    /// The suffix that stands for the unit; letter case matters.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Bytes => "B",
            Self::Kilobytes => "kB",
            Self::Megabytes => "MB",
            Self::Gigabytes => "GB",
            Self::Terabytes => "TB",
        }
    }

    const fn bytes(self) -> u128 {
        match self {
            Self::Bytes => 1,
            Self::Kilobytes => 1 << 10,
            Self::Megabytes => 1 << 20,
            Self::Gigabytes => 1 << 30,
            Self::Terabytes => 1 << 40,
        }
    }
}

/// Whether `word` is a unit. Used to see that `2 min` is one value; `MIN` counts too, so that the
/// letter case is judged where the error can name the parameter. A single letter is a unit only as
/// it is.
pub(crate) fn is_unit_word(word: &str) -> bool {
    let times = TimeUnit::ALL.iter().map(|unit| unit.suffix());
    let sizes = SizeUnit::ALL.iter().map(|unit| unit.suffix());
    times
        .chain(sizes)
        .any(|suffix| suffix == word || (suffix.len() > 1 && suffix.eq_ignore_ascii_case(word)))
}

/// `on off true false yes no 1 0` in any letter case, and any prefix that only one of them has.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 6] = [
        ("on", true),
        ("off", false),
        ("true", true),
        ("false", false),
        ("yes", true),
        ("no", false),
    ];
    match text {
        "1" => return Some(true),
        "0" => return Some(false),
        "" => return None,
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let mut fitting = WORDS.iter().filter(|(word, _)| word.starts_with(&lower));
    match (fitting.next(), fitting.next()) {
        (Some((_, value)), None) => Some(*value),
        _ => None,
    }
}

/// A decimal, hexadecimal (`0x10`) or octal (`010`) integer with an optional sign.
#[must_use]
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = i64::try_from(parse_magnitude(digits)?).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

fn parse_magnitude(digits: &str) -> Option<u64> {
    let (radix, digits) =
        if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            (16, hex)
        } else if digits.len() > 1 && digits.starts_with('0') {
            (8, digits)
        } else {
            (10, digits)
        };
    // from_str_radix takes a sign of its own.
    if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// An octal literal such as `0777`. The leading zero is required, because `777` is another number
/// where the same text is read as an integer.
#[must_use]
pub fn parse_octal(text: &str) -> Option<u32> {
    if text == "0" || (text.len() > 1 && text.starts_with('0')) {
        u32::try_from(parse_magnitude(text).filter(|_| !text.contains(['x', 'X']))?).ok()
    } else {
        None
    }
}

/// A finite decimal number.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    // The standard parser also takes `inf`, `nan` and `infinity`.
    let plain =
        text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'));
    text.parse::<f64>().ok().filter(|value| plain && value.is_finite())
}

/// A number in `unit`, or with a suffix of its own: `33`, `2min`, `2 min`, `1.5h`, `1500ms`.
///
/// Fractions are kept to the nanosecond: where Pgpool-II rounds `1500ms` to 2 s, this is 1.5 s.
#[must_use]
pub fn parse_duration(text: &str, unit: TimeUnit) -> Option<Duration> {
    let (number, suffix) = split_suffix(text);
    let unit = if suffix.is_empty() {
        unit
    } else {
        *TimeUnit::ALL.iter().find(|unit| unit.suffix() == suffix)?
    };
    let nanos = scaled(number, unit.nanos())?;
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

/// A number in `unit`, or with a suffix of its own: `64MB`, `400 kB`, `1.5GB`; in bytes.
#[must_use]
pub fn parse_bytes(text: &str, unit: SizeUnit) -> Option<u64> {
    let (number, suffix) = split_suffix(text);
    let unit = if suffix.is_empty() {
        unit
    } else {
        *SizeUnit::ALL.iter().find(|unit| unit.suffix() == suffix)?
    };
    u64::try_from(scaled(number, unit.bytes())?).ok()
}

/// `2 min` -> (`2`, `min`); hexadecimal digits are not taken for a suffix.
fn split_suffix(text: &str) -> (&str, &str) {
    let text = text.trim();
    let number_len = if text.starts_with("0x") || text.starts_with("0X") {
        2 + text.chars().skip(2).take_while(char::is_ascii_hexdigit).count()
    } else {
        text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').count()
    };
    let (number, suffix) = text.split_at_checked(number_len).unwrap_or((text, ""));
    (number, suffix.trim_start())
}

/// `number` times `factor`, rounded to the nearest whole. Integer arithmetic, so that `0.1` is a
/// tenth.
fn scaled(number: &str, factor: u128) -> Option<u128> {
    let Some((whole, fraction)) = number.split_once('.') else {
        return u128::from(parse_magnitude(number)?).checked_mul(factor);
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || !digits(whole)
        || !digits(fraction)
        || whole.len() > 18
        || fraction.len() > 9
    {
        return None;
    }
    let denominator = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let numerator = number(whole)?.checked_mul(denominator)?.checked_add(number(fraction)?)?;
    Some((numerator.checked_mul(factor)? + denominator / 2) / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_words_or_unambiguous_prefixes() {
        for text in ["on", "ON", "true", "t", "yes", "Y", "1", "tr"] {
            assert_eq!(parse_bool(text), Some(true), "{text}");
        }
        for text in ["off", "of", "OFF", "false", "f", "no", "n", "0"] {
            assert_eq!(parse_bool(text), Some(false), "{text}");
        }
        for text in ["", "o", "maybe", "2", "onn", "01", "-1", "\n"] {
            assert_eq!(parse_bool(text), None, "{text:?}");
        }
    }

    #[test]
    fn integers_come_in_three_bases() {
        for (text, value) in [("33", 33), ("0x10", 16), ("010", 8), ("-1", -1), ("+5", 5), ("0", 0)]
        {
            assert_eq!(parse_int(text), Some(value), "{text}");
        }
        for text in ["", "abc", "4s", "1.5", "08", "0x", "--1", "-+1", "9223372036854775808", "1 2"]
        {
            assert_eq!(parse_int(text), None, "{text}");
        }
    }

    #[test]
    fn durations_take_the_unit_of_the_parameter_or_their_own() {
        let seconds = |text| parse_duration(text, TimeUnit::Seconds);
        for (text, millis) in [
            ("33", 33_000),
            ("2min", 120_000),
            ("2 min", 120_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1500ms", 1_500),
            ("1d", 86_400_000),
            ("0x10", 16_000),
            ("010", 8_000),
            ("0", 0),
        ] {
            assert_eq!(seconds(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "abc", "2MIN", "2 Min", "-1", "1.5.5h", ".", "5kB", "1,5h", "99999999999d"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(
            parse_duration("7", TimeUnit::Milliseconds),
            Some(Duration::from_millis(7)),
            "the parameter's own unit"
        );
    }

    #[test]
    fn sizes_are_powers_of_1024_and_case_sensitive() {
        for (text, bytes) in
            [("64MB", 64 << 20), ("400 kB", 400 << 10), ("1.5GB", 3 << 29), ("512", 512), ("0", 0)]
        {
            assert_eq!(parse_bytes(text, SizeUnit::Bytes), Some(bytes), "{text}");
        }
        for text in ["64mb", "1KB", "-1", "x", "5s", "99999999999TB"] {
            assert_eq!(parse_bytes(text, SizeUnit::Bytes), None, "{text}");
        }
    }

    #[test]
    fn octal_needs_its_zero() {
        assert_eq!(parse_octal("0777"), Some(0o777));
        assert_eq!(parse_octal("0"), Some(0));
        for text in ["777", "0888", "0x1ff", "", "rwx"] {
            assert_eq!(parse_octal(text), None, "{text}");
        }
    }

    #[test]
    fn floats_are_finite() {
        assert_eq!(parse_float("0.25"), Some(0.25));
        for text in ["nan", "inf", "1e999", "x", "", "infinity"] {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }
}
