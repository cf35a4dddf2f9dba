//! Writing entries into the text of `pool_passwd`.

use zeroize::Zeroizing;

use super::{MAX_PASSWORD_LEN, MAX_USER_LEN, PasswdProblem, split_user};

/// The text with an entry for `user`: in the place of the one that it has (of all that it has), or
/// at its end. Comments, and what cannot be read, stay as they are.
///
/// # Errors
/// The user's name or the password field cannot stand in the file.
pub fn with_entry(text: &str, user: &str, field: &str) -> Result<Zeroizing<String>, PasswdProblem> {
    if user.is_empty() || user.contains(['\n', '\r']) {
        return Err(PasswdProblem::EmptyUser);
    }
    if user.len() > MAX_USER_LEN {
        return Err(PasswdProblem::UserTooLong { len: user.len() });
    }
    if field.is_empty() || field.contains(['\n', '\r']) {
        return Err(PasswdProblem::EmptyPassword);
    }
    if field.len() > MAX_PASSWORD_LEN {
        return Err(PasswdProblem::PasswordTooLong { len: field.len() });
    }
    let entry = Zeroizing::new(format!("{}:{field}\n", user.replace(':', "\\:")));
    // No reallocation leaves a copy behind.
    let mut edited = Zeroizing::new(String::with_capacity(text.len() + entry.len() + 1));
    let mut written = false;
    for line in text.lines() {
        let is_theirs = !line.starts_with('#') && split_user(line).is_ok_and(|(of, _)| of == user);
        if !is_theirs {
            edited.push_str(line);
            edited.push('\n');
        } else if !written {
            edited.push_str(&entry);
            written = true;
        }
    }
    if !written {
        edited.push_str(&entry);
    }
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_replaced_in_their_place_or_added_at_the_end() {
        let text = "# bob:comment\nbob:old\ncarol:x\nbob:older";
        let edited = with_entry(text, "bob", "md5x").unwrap();
        assert_eq!(edited.as_str(), "# bob:comment\nbob:md5x\ncarol:x\n");
        assert_eq!(with_entry("", "a:b", "TEXTx:y").unwrap().as_str(), "a\\:b:TEXTx:y\n");
        assert_eq!(with_entry("a\\:b:1\n", "a:b", "2").unwrap().as_str(), "a\\:b:2\n");
    }

    #[test]
    fn what_would_break_the_file_is_refused() {
        for (user, field) in [("", "x"), ("a\nb", "x"), ("a", ""), ("a", "x\ny")] {
            assert!(with_entry("", user, field).is_err(), "{user:?} {field:?}");
        }
        assert!(with_entry("", &"u".repeat(MAX_USER_LEN + 1), "x").is_err());
        assert!(with_entry("", "u", &"x".repeat(MAX_PASSWORD_LEN + 1)).is_err());
    }
}
