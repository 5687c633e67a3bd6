//! Templates of configurations: text with holes, `{{ NAME }}`, and no language.
//!
//! There are no conditions, no loops and no functions: a template that is taken ends, and ends up as long as its
//! parts. `{{{{` stands for two braces; a single brace, and two that close nothing, stand for themselves.

use std::fmt;

use crate::private::Private;

/// A hole: what is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole<'t> {
    /// `{{ unit }}`: the unit's name.
    Unit,
    /// `{{ node }}`: the node's host name.
    Node,
    /// `{{ ip }}`: the unit's address on its first network.
    Ip,
    /// `{{ env.NAME }}`: a variable of the unit.
    Env(&'t str),
    /// `{{ secret.NAME }}`: what `[secrets.NAME]` of the unit is.
    Secret(&'t str),
}

impl fmt::Display for Hole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("unit"),
            Self::Node => f.write_str("node"),
            Self::Ip => f.write_str("ip"),
            Self::Env(name) => write!(f, "env.{name}"),
            Self::Secret(name) => write!(f, "secret.{name}"),
        }
    }
}

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// As it stands.
    Text(&'t str),
    /// To be filled in, with the line in which it stands, from 1.
    Hole(Hole<'t>, usize),
}

/// Why a text is no template, or cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// Cuts a template up.
pub fn parse(text: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some((before, after)) = rest.split_once("{{") {
        parts.push(Part::Text(before));
        line += before.matches('\n').count();
        if let Some(after) = after.strip_prefix("{{") {
            parts.push(Part::Text("{{"));
            rest = after;
            continue;
        }
        let fault = |what: String| TemplateError { line, what };
        let inside = after.split('\n').next().unwrap_or(after);
        let Some((word, _)) = inside.split_once("}}") else {
            return Err(fault("'{{' is not closed in its line; write '{{{{' for two braces".to_owned()));
        };
        parts.push(Part::Hole(hole(word.trim()).map_err(fault)?, line));
        rest = after.get(word.len() + 2..).unwrap_or_default();
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

fn hole(word: &str) -> Result<Hole<'_>, String> {
    let known = "known are unit, node, ip, env.NAME and secret.NAME";
    match (word, word.split_once('.')) {
        ("unit", _) => Ok(Hole::Unit),
        ("node", _) => Ok(Hole::Node),
        ("ip", _) => Ok(Hole::Ip),
        (_, Some(("env", name))) if !name.is_empty() => Ok(Hole::Env(name)),
        (_, Some(("secret", name))) if !name.is_empty() => Ok(Hole::Secret(name)),
        ("", _) => Err(format!("nothing is named between the braces; {known}")),
        // As much of it as anybody needs to find it.
        _ => Err(format!("unknown name '{}'; {known}", word.chars().take(40).collect::<String>())),
    }
}

/// Fills a template in. What a hole has no value for is an error.
pub fn render<'v>(
    text: &str,
    value: impl Fn(Hole<'_>) -> Option<std::borrow::Cow<'v, str>>,
) -> Result<Private, TemplateError> {
    let mut filled = String::with_capacity(text.len());
    for part in parse(text)? {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Hole(hole, line) => match value(hole) {
                Some(value) => filled.push_str(&value),
                None => return Err(TemplateError { line, what: format!("there is no '{hole}'") }),
            },
        }
    }
    Ok(filled.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let value = |hole: Hole<'_>| match hole {
            Hole::Unit => Some("web".into()),
            Hole::Ip => Some("10.0.0.7".into()),
            Hole::Env("A") => Some("{{ node }}".into()),
            Hole::Secret("db") => Some("x".into()),
            _ => None,
        };
        render(text, value)
            .map(|text| String::from_utf8(text.bytes().to_vec()).unwrap())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn holes_are_filled_and_nothing_else_is_touched() {
        for (text, expect) in [
            ("", ""),
            ("plain { } }} text", "plain { } }} text"),
            ("{{unit}} at {{ ip }}\n", "web at 10.0.0.7\n"),
            ("a{{ secret.db }}b{{secret.db}}", "axbx"),
            // What was filled in is not looked at again.
            ("{{ env.A }}", "{{ node }}"),
            ("{{{{ unit }}", "{{ unit }}"),
            ("{{{{{{ unit }}", "{{web"),
            ("{ {{ unit }} }", "{ web }"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expect), "{text}");
        }
    }

    #[test]
    fn faults_name_their_line() {
        let known = "known are unit, node, ip, env.NAME and secret.NAME";
        for (text, expect) in [
            ("a\n{{ unti }}", format!("line 2: unknown name 'unti'; {known}")),
            ("{{ }}", format!("line 1: nothing is named between the braces; {known}")),
            ("{{ env. }}", format!("line 1: unknown name 'env.'; {known}")),
            ("\n\n{{ unit", "line 3: '{{' is not closed in its line; write '{{{{' for two braces".to_owned()),
            ("{{ unit\n}}", "line 1: '{{' is not closed in its line; write '{{{{' for two braces".to_owned()),
            ("{{ unit }}\n{{ env.B }}", "line 2: there is no 'env.B'".to_owned()),
            ("{{ node }}", "line 1: there is no 'node'".to_owned()),
            ("{{ secret.other }}", "line 1: there is no 'secret.other'".to_owned()),
        ] {
            assert_eq!(filled(text), Err(expect), "{text}");
        }
    }
}
