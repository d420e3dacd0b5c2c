//! A page of the console, read strictly: what a browser would mend without a word is a mistake
//! here. Knows as much of HTML as the console writes, and of accessibility what can be told from
//! the text alone.

use std::collections::{BTreeSet, HashMap};

/// Elements without content.
const VOID: [&str; 6] = ["meta", "link", "input", "br", "hr", "img"];

/// An element.
#[derive(Debug, Clone, Default)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes; those without a value have an empty one.
    pub attributes: HashMap<String, String>,
    /// The text in it, with that of what is in it.
    pub text: String,
    /// The names of what it is in, from the outside in.
    pub within: Vec<String>,
}

impl Element {
    /// An attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The elements of a page, in the order of their ends.
#[derive(Debug, Default)]
pub struct Html(pub Vec<Element>);

impl Html {
    /// Reads a page.
    ///
    /// # Errors
    /// What is wrong with it first.
    pub fn read(text: &str) -> Result<Self, String> {
        let (mut rest, mut open, mut all) = (text, Vec::<Element>::new(), Vec::new());
        while let Some(at) = rest.find('<') {
            let said = plain(&rest[..at])?;
            open.iter_mut().for_each(|element| element.text.push_str(&said));
            rest = &rest[at..];
            if rest.starts_with("<!DOCTYPE html>") {
                rest = &rest["<!DOCTYPE html>".len()..];
                continue;
            }
            let end = tag_end(rest)?;
            let tag = &rest[1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                match open.pop() {
                    Some(element) if element.name == name => all.push(element),
                    other => return Err(format!("</{name}> ends {:?}", other.map(|e| e.name))),
                }
                continue;
            }
            let (tag, closed) = match tag.strip_suffix('/') {
                Some(tag) => (tag, true),
                None => (tag, false),
            };
            let mut element = element(tag)?;
            element.within = open.iter().map(|element| element.name.clone()).collect();
            match closed || VOID.contains(&element.name.as_str()) {
                true => all.push(element),
                false => open.push(element),
            }
        }
        match open.pop() {
            None => Ok(Self(all)),
            Some(element) => Err(format!("<{}> does not end", element.name)),
        }
    }

    /// The elements of a name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.0.iter().filter(move |element| element.name == name)
    }

    /// The addresses on this server that the page leads to, or loads.
    #[must_use]
    pub fn links(&self) -> BTreeSet<String> {
        let found = self.0.iter().flat_map(|element| [element.get("href"), element.get("src")]);
        found.flatten().filter(|to| to.starts_with('/')).map(ToOwned::to_owned).collect()
    }

    /// What is wrong with a whole page, as far as can be told.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut ids = BTreeSet::new();
        for element in &self.0 {
            let name = &element.name;
            for attribute in element.attributes.keys() {
                if attribute == "style" || attribute.starts_with("on") {
                    faults.push(format!("<{name}> has `{attribute}`, which the policy forbids"));
                }
            }
            if let Some(id) = element.get("id")
                && !ids.insert(id)
            {
                faults.push(format!("the id `{id}` is there twice"));
            }
            if element.attributes.contains_key("data-live") && element.get("id").is_none() {
                faults.push(format!("a live <{name}> has no id"));
            }
        }
        for (attribute, what) in
            [("for", "label"), ("aria-labelledby", "label"), ("aria-describedby", "text")]
        {
            let named = self.0.iter().filter_map(|element| element.get(attribute));
            let lost = named.flat_map(str::split_whitespace).filter(|id| !ids.contains(id));
            faults.extend(lost.map(|id| format!("`{attribute}` names no {what}: {id}")));
        }
        faults.extend(self.unlabelled());
        for name in ["h1", "main", "title", "header", "footer"] {
            // A drawing has titles of its own.
            let drawn = |element: &&Element| element.within.iter().any(|outer| outer == "svg");
            let number = self.named(name).filter(|element| !drawn(element)).count();
            if number != 1 {
                faults.push(format!("there are {number} <{name}>"));
            }
        }
        if self.named("html").next().and_then(|html| html.get("lang")).is_none() {
            faults.push("the page has no language".to_owned());
        }
        let unscoped = self.named("th").filter(|th| th.get("scope").is_none());
        faults.extend(unscoped.map(|th| format!("<th> `{}` has no scope", th.text)));
        let (tables, captions) = (self.named("table").count(), self.named("caption").count());
        if tables != captions {
            faults.push(format!("{tables} tables have {captions} captions"));
        }
        faults
    }

    /// Fields that nothing names, and links and buttons without a word.
    fn unlabelled(&self) -> Vec<String> {
        let labels: BTreeSet<&str> =
            self.named("label").filter_map(|label| label.get("for")).collect();
        let mut faults = Vec::new();
        for element in &self.0 {
            let name = element.name.as_str();
            let hidden = element.get("type") == Some("hidden");
            let spoken = element.get("aria-label").is_some()
                || element.within.iter().any(|outer| outer == "label")
                || element.get("id").is_some_and(|id| labels.contains(id));
            let field = ["input", "select", "textarea"].contains(&name);
            if field && !hidden && !spoken {
                faults.push(format!("a <{name}> has no label: {:?}", element.attributes));
            }
            let words = ["a", "button", "summary", "th", "option", "h1", "h2", "h3"];
            if words.contains(&name) && element.text.trim().is_empty() && !spoken {
                faults.push(format!("a <{name}> says nothing: {:?}", element.attributes));
            }
        }
        faults
    }
}

/// Where a tag ends: at the first `>` outside of quotes.
fn tag_end(rest: &str) -> Result<usize, String> {
    let mut quoted = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return Ok(at),
            '<' if at > 0 && !quoted => break,
            _ => {}
        }
    }
    Err(format!("a tag does not end: {}", rest.chars().take(80).collect::<String>()))
}

fn element(tag: &str) -> Result<Element, String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("<{tag}> is no tag"));
    }
    let mut element = Element { name: name.to_owned(), ..Element::default() };
    while !rest.trim_start().is_empty() {
        rest = rest.trim_start();
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        rest = &rest[end..];
        let value = match rest.strip_prefix("=\"") {
            None if rest.starts_with('=') => return Err(format!("<{tag}>: {key} is not quoted")),
            None => String::new(),
            Some(after) => {
                let end = after.find('"').ok_or_else(|| format!("<{tag}>: {key} does not end"))?;
                rest = &after[end + 1..];
                plain(&after[..end])?
            }
        };
        if element.attributes.insert(key.clone(), value).is_some() {
            return Err(format!("<{tag}> has {key} twice"));
        }
    }
    Ok(element)
}

/// A text without its entities.
fn plain(text: &str) -> Result<String, String> {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').ok_or_else(|| format!("`&` stands alone in `{text}`"))?;
        plain.push(match &rest[..=end] {
            "&amp;" => '&',
            "&lt;" => '<',
            "&gt;" => '>',
            "&quot;" => '"',
            other => return Err(format!("`{other}` is unknown")),
        });
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_mend_is_a_mistake() {
        for wrong in [
            "<p>a",
            "<p><b>a</p></b>",
            "<p id=a></p>",
            "<p id=\"a\" id=\"b\"></p>",
            "<p>a & b</p>",
            "<p a=\"<\"",
        ] {
            assert!(Html::read(wrong).is_err(), "{wrong}");
        }
        let page = Html::read("<p title=\"a &gt; b\"><input><a href=\"/x\">to <b>it</b></a></p>");
        let page = page.unwrap();
        assert_eq!(page.links().len(), 1);
        assert_eq!(page.named("a").next().unwrap().text, "to it");
        assert_eq!(page.named("p").next().unwrap().get("title"), Some("a > b"));
        let faults = page.faults().join("\n");
        assert!(faults.contains("<input> has no label") && faults.contains("0 <h1>"), "{faults}");
    }
}
