//! Run-time parameters of a session, as reported by ParameterStatus or asked for at startup.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The most parameters that a [`Params`] holds. PostgreSQL reports fewer than twenty.
pub const MAX_PARAMS: usize = 128;
/// The most bytes that the names and values of a [`Params`] hold together.
pub const MAX_PARAMS_BYTES: usize = 16 * 1024;

/// A parameter that would exceed [`MAX_PARAMS`] or [`MAX_PARAMS_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_PARAMS} parameters or {MAX_PARAMS_BYTES} bytes of them")]
pub struct TooMany;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Param {
    name: Arc<[u8]>,
    value: Arc<[u8]>,
}

/// Parameter names and values, ordered by name.
///
/// A clone shares everything with its original until one of them changes, so that thousands of
/// sessions with the same parameters cost one map, and [`Params::diff`] of two such sessions costs a
/// comparison of two pointers. Names are compared without regard to ASCII case, as PostgreSQL does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Arc<Vec<Param>>);

impl Params {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the parameter `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.find(name).ok()?;
        self.0.get(at).map(|param| &*param.value)
    }

    /// Gives the parameter `name` a value, and says whether that changed anything.
    ///
    /// # Errors
    /// The bounds would be exceeded; nothing is changed then.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<bool, TooMany> {
        let place = self.find(name);
        let replaced = match place {
            Ok(at) => self.0.get(at).map_or(0, |param| param.name.len() + param.value.len()),
            Err(_) if self.0.len() >= MAX_PARAMS => return Err(TooMany),
            Err(_) => 0,
        };
        if place.is_ok() && self.get(name) == Some(value) {
            return Ok(false);
        }
        let kept = self.total_bytes().saturating_sub(replaced);
        if kept.saturating_add(name.len()).saturating_add(value.len()) > MAX_PARAMS_BYTES {
            return Err(TooMany);
        }
        let all = Arc::make_mut(&mut self.0);
        match place {
            Ok(at) => {
                if let Some(param) = all.get_mut(at) {
                    param.value = value.into();
                }
            }
            Err(at) => all.insert(at, Param { name: name.into(), value: value.into() }),
        }
        Ok(true)
    }

    /// Forgets the parameter `name`, and says whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Ok(at) = self.find(name) else { return false };
        Arc::make_mut(&mut self.0).remove(at);
        true
    }

    /// Names, as first set, and values, ordered by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|param| (&*param.name, &*param.value))
    }

    /// How many parameters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.0.iter().map(|param| param.name.len() + param.value.len()).sum()
    }

    /// Whether both share one map: equal for sure, and known at once. Equal maps need not share.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What must be set to make a session with the parameters `have` look like one with `want`: those
    /// of the `tracked` names that `want` has a value for and `have` has another value or none.
    ///
    /// A name comes back as `tracked` spells it, which is safe to put into SQL if that list is.
    pub fn diff<'a>(
        want: &'a Self,
        have: &'a Self,
        tracked: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let tracked = if want.ptr_eq(have) { &[] } else { tracked };
        tracked.iter().filter_map(|&name| {
            let wanted = want.get(name.as_bytes())?;
            (have.get(name.as_bytes()) != Some(wanted)).then_some((name, wanted))
        })
    }

    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|param| compare_names(&param.name, name))
    }
}

/// The order of names, blind to ASCII case.
fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}
