//! Files of variables, `env_files`: one NAME=VALUE a line.
//!
//! Empty lines and lines that begin with `#` or `;` say nothing. Blanks around name and value are no part of them. A
//! value in single quotes is taken as it stands; in double quotes `\n`, `\t`, `\"`, `\\` and `\$` are what they are
//! elsewhere. No shell: nothing is expanded. What is wrong is told by its line and never by its text, which may be
//! secret.

/// The longest file, bytes.
pub const FILE_MAX: usize = 64 << 10;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct EnvFileError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// The variables in their order; a name may come twice, and the later one counts.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    let said = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(['#', ';']));
    said.map(|(line, number)| variable(line).map_err(|what| EnvFileError { line: number, what })).collect()
}

fn variable(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once('=').ok_or("it is not written NAME=VALUE")?;
    let name = name.trim_end();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a name is made of letters, digits, '_', '.' and '-', no digit first");
    }
    if line.contains('\0') {
        return Err("a variable cannot hold NUL");
    }
    Ok((name.to_owned(), unquote(value.trim_start())?))
}

fn unquote(value: &str) -> Result<String, &'static str> {
    const OPEN: &str = "the value begins with a quote and does not end with it";
    if let Some(rest) = value.strip_prefix('\'') {
        let inside = rest.strip_suffix('\'').ok_or(OPEN)?;
        return if inside.contains('\'') { Err(OPEN) } else { Ok(inside.to_owned()) };
    }
    let Some(rest) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let mut text = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next().ok_or(OPEN)? {
            '"' => return if chars.next().is_none() { Ok(text) } else { Err(OPEN) },
            '\\' => text.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(plain @ ('"' | '\\' | '$')) => plain,
                _ => return Err("after '\\' comes one of n, t, '\"', '$' and '\\'"),
            }),
            plain => text.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_variables() {
        let text = "# a comment\n; another\n\n A = 1 \nB=\nC=x=y # z\r\nD='  $x \\n'\nE=\"a\\n\\\"b\\\" \\$x\"\nA=2\nF= \"\" ";
        let expect = [
            ("A", "1"),
            ("B", ""),
            ("C", "x=y # z"),
            ("D", "  $x \\n"),
            ("E", "a\n\"b\" $x"),
            ("A", "2"),
            ("F", ""),
        ];
        let found = parse(text).unwrap();
        assert_eq!(found, expect.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn faults_name_their_line_and_no_value() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("=hunter2", 1),
            ("1A=hunter2", 1),
            ("export A=hunter2", 1),
            ("A='hunter2", 1),
            ("A='hun'ter2'", 1),
            ("A=\"hunter2", 1),
            ("A=\"hun\"ter2\"", 1),
            ("A=\"hunter2\\x\"", 1),
            ("A=hun\0ter2", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("ter2"), "{error}");
        }
    }
}
