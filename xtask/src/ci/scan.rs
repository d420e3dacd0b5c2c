//! The little of Rust's grammar that the direction check needs: the names in a
//! source file, without comments, strings and characters, and the rooms that
//! paths from `crate::` name.

/// A piece of source: a name, or one character of punctuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// Its line, from 1.
    pub(super) line: usize,
}

/// Cuts source into tokens. What is no Rust comes out as some tokens or other:
/// the compiler complains about that, not this.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let length = skipped(rest).unwrap_or_else(|| {
            let length = name_length(rest).max(first.len_utf8());
            if !first.is_whitespace() {
                tokens.push(Token { text: &rest[..length], line });
            }
            length
        });
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The length of the comment, string or character that the text begins with.
fn skipped(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    if let Some(length) = raw_string(text) {
        return Some(length);
    }
    let prefix = usize::from(text.starts_with("b\"") || text.starts_with("c\""));
    if text[prefix..].starts_with('"') {
        return Some(prefix + quoted(&text[prefix..], '"'));
    }
    let prefix = usize::from(text.starts_with("b'"));
    is_character(&text[prefix..]).then(|| prefix + quoted(&text[prefix..], '\''))
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// `r"..."`, `br#"..."#`, and so on.
fn raw_string(text: &str) -> Option<usize> {
    let prefix =
        ["r", "br", "cr"].into_iter().find_map(|p| text.strip_prefix(p).map(|_| p.len()))?;
    let hashes = text[prefix..].bytes().take_while(|&b| b == b'#').count();
    let body = prefix + hashes;
    let content = text[body..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(content.find(&end).map_or(text.len(), |found| body + 1 + found + end.len()))
}

/// Up to the closing quote, over escaped ones.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('\'')
        && (text.starts_with("'\\") || (chars.next().is_some() && chars.next() == Some('\'')))
}

/// The rooms that paths from the crate's root name: `crate::ROOM`, also within
/// braces (`crate::{a::X, b}`), with the line of each.
pub(super) fn rooms_named<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut rooms = Vec::new();
    for at in 0..tokens.len() {
        if text(at) != "crate" || text(at + 1) != ":" || text(at + 2) != ":" {
            continue;
        }
        if text(at + 3) != "{" {
            rooms.extend(tokens.get(at + 3).cloned());
            continue;
        }
        // The first name after the brace and after each comma of its own depth.
        let (mut depth, mut first) = (1_usize, true);
        for token in &tokens[at + 4..] {
            match token.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," if depth == 1 => first = true,
                _ if first => {
                    rooms.push(token.clone());
                    first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    rooms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_strings_and_characters_hold_no_names() {
        assert_eq!(texts("a // crate::b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(texts(r##"a "b \" c" r#"d " e"# b"f" g"##), ["a", "g"]);
        assert_eq!(texts(r"a '\'' 'b' b'c' 'd: e"), ["a", "'", "d", ":", "e"]);
        assert_eq!(texts("raw r br ä/b"), ["raw", "r", "br", "ä", "/", "b"]);
        assert_eq!(texts("\"never closed"), [""; 0]);
    }

    #[test]
    fn tokens_know_their_line() {
        let found = tokens("a\n/* \n */ b\n\"\n\" c");
        let lines: Vec<_> = found.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 3), ("c", 5)]);
    }

    #[test]
    fn rooms_are_found_in_plain_and_braced_paths() {
        let source = "use crate::stream::Batch;\nuse crate::{ids::{A, B}, clock, state::x::{y, z}};\n\
                      fn f() { crate::config::load(); }";
        let found = tokens(source);
        let rooms: Vec<_> = rooms_named(&found).into_iter().map(|t| (t.text, t.line)).collect();
        assert_eq!(rooms, [("stream", 1), ("ids", 2), ("clock", 2), ("state", 2), ("config", 3)]);
    }
}
