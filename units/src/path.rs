//! Paths as text: made normal without asking a file system.

/// The longest path, in bytes: PATH_MAX with its NUL (limits.h).
const PATH_MAX: usize = 4095;

/// An absolute path without `//`, `/./` and a slash at the end; `..` and NUL are refused, because what they mean
/// depends on links.
pub fn parse_absolute(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("it does not begin with '/'");
    }
    let relative = normal(text)?;
    Ok(format!("/{relative}"))
}

/// A path below something: the same rules, without a slash in front; never empty.
pub fn parse_relative(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Err("it is below the volume and does not begin with '/'");
    }
    match normal(text)? {
        empty if empty.is_empty() => Err("it is empty"),
        path => Ok(path),
    }
}

/// Whether `path` is `parent` or lies below it; both in normal form.
pub fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn normal(text: &str) -> Result<String, &'static str> {
    if text.len() > PATH_MAX {
        return Err("it is longer than 4095 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("it holds '..'");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form() {
        for (text, path) in [
            ("/", Some("/")),
            ("//a/./b/", Some("/a/b")),
            ("/a/..", None),
            ("a", None),
            ("", None),
            ("/a\0", None),
            ("/..a", Some("/..a")),
        ] {
            assert_eq!(parse_absolute(text).ok().as_deref(), path, "{text}");
        }
        for (text, path) in [("a//b/", Some("a/b")), ("/a", None), (".", None), ("../a", None)] {
            assert_eq!(parse_relative(text).ok().as_deref(), path, "{text}");
        }
        assert!(is_within("/proc/1", "/proc") && is_within("/proc", "/proc") && is_within("/a", "/"));
        assert!(!is_within("/process", "/proc"));
    }
}
