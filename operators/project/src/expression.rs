//! Small expressions over a record's fields: `+ - * /` on numbers, `&` on text,
//! brackets, numbers, 'text', field names (in back quotes, where they are no
//! plain word).

use cofferdam_sdk::{
    Error,
    json::{Number, Object, Raw},
};

/// The most brackets and signs inside one another.
const DEEPEST: u32 = 50;

/// An expression that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Number(Number),
    Text(String),
    Field(usize),
    Binary(char, Box<Expression>, Box<Expression>),
}

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A field was missing or `null`, or a number was divided by zero.
    Null,
    Number(Number),
    Text(String),
}

impl Value {
    pub(crate) fn write(&self, name: &str, object: &mut Object<'_>) {
        match self {
            Self::Null => object.json(name, "null"),
            Self::Number(number) => object.number(name, *number),
            Self::Text(text) => object.text(name, text),
        };
    }

    fn into_text(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Number(Number::Int(n)) => n.to_string(),
            Self::Number(Number::Float(x)) => x.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl Expression {
    /// Reads an expression; `index` is told each field's name and answers where
    /// its value will be found.
    pub(crate) fn parse(text: &str, index: &mut dyn FnMut(&str) -> usize) -> Result<Self, String> {
        let mut parser = Parser { rest: text.trim_start(), length: text.len(), depth: 0, index };
        let expression = parser.sum()?;
        if parser.rest.is_empty() { Ok(expression) } else { Err(parser.expected("an operator")) }
    }

    /// Computes the expression; `names` are for messages.
    pub(crate) fn compute(
        &self,
        found: &[Option<Raw<'_>>],
        names: &[String],
    ) -> Result<Value, Error> {
        match self {
            Self::Number(number) => Ok(Value::Number(*number)),
            Self::Text(text) => Ok(Value::Text(text.clone())),
            Self::Field(field) => match found[*field].filter(|raw| !raw.is_null()) {
                None => Ok(Value::Null),
                Some(raw) => Ok(raw
                    .number()
                    .map_or_else(|| Value::Text(raw.text().into_owned()), Value::Number)),
            },
            Self::Binary('&', left, right) => {
                let left = left.compute(found, names)?.into_text();
                Ok(Value::Text(left + &right.compute(found, names)?.into_text()))
            }
            Self::Binary(op, left, right) => {
                let left = left.operand(found, names)?;
                let right = right.operand(found, names)?;
                let result = left.zip(right).and_then(|(a, b)| arithmetic(*op, a, b));
                Ok(result.map_or(Value::Null, Value::Number))
            }
        }
    }

    /// The expression as a number.
    fn operand(
        &self,
        found: &[Option<Raw<'_>>],
        names: &[String],
    ) -> Result<Option<Number>, Error> {
        match self.compute(found, names)? {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(Some(number)),
            Value::Text(text) => {
                let what = match self {
                    Self::Field(field) => format!("`{}`", names[*field]),
                    _ => "a text".to_owned(),
                };
                Err(Error::new(format!("{what} is not a number: {text:?}")))
            }
        }
    }
}

/// Integers stay integers where the result is one that 64 bits can hold; none
/// where there is no finite result.
fn arithmetic(op: char, a: Number, b: Number) -> Option<Number> {
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let exact = match op {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            '*' => a.checked_mul(b),
            _ => a.checked_rem(b).filter(|rest| *rest == 0).and_then(|_| a.checked_div(b)),
        };
        if let Some(n) = exact {
            return Some(Number::Int(n));
        }
    }
    let (a, b) = (a.as_f64(), b.as_f64());
    let x = match op {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        _ => a / b,
    };
    x.is_finite().then_some(Number::Float(x))
}

struct Parser<'a> {
    rest: &'a str,
    length: usize,
    depth: u32,
    index: &'a mut dyn FnMut(&str) -> usize,
}

impl Parser<'_> {
    fn expected(&self, what: &str) -> String {
        let at = self.length - self.rest.len() + 1;
        match self.rest.chars().next() {
            Some(c) => format!("expected {what} instead of `{c}` (character {at})"),
            None => format!("expected {what} at the end"),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn one_of(&mut self, operators: &[char]) -> Option<char> {
        let op = self.rest.chars().next().filter(|c| operators.contains(c))?;
        self.skip(op.len_utf8());
        Some(op)
    }

    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        while let Some(op) = self.one_of(&['+', '-', '&']) {
            left = Expression::Binary(op, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.operand()?;
        while let Some(op) = self.one_of(&['*', '/']) {
            left = Expression::Binary(op, Box::new(left), Box::new(self.operand()?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("more than {DEEPEST} brackets or signs inside one another"));
        }
        let operand = match self.rest.chars().next() {
            Some('(') => self.bracket(),
            Some('-') => {
                self.skip(1);
                let zero = Box::new(Expression::Number(Number::Int(0)));
                Ok(Expression::Binary('-', zero, Box::new(self.operand()?)))
            }
            Some(quote @ ('\'' | '`')) => self.quoted(quote),
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => {
                let word = |c: char| c.is_alphanumeric() || c == '_';
                let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
                let field = (self.index)(&self.rest[..end]);
                self.skip(end);
                Ok(Expression::Field(field))
            }
            _ => Err(self.expected("a field, a number, a 'text' or `(`")),
        };
        self.depth -= 1;
        operand
    }

    fn bracket(&mut self) -> Result<Expression, String> {
        self.skip(1);
        let inner = self.sum()?;
        self.one_of(&[')']).ok_or_else(|| self.expected("`)`"))?;
        Ok(inner)
    }

    fn quoted(&mut self, quote: char) -> Result<Expression, String> {
        let inner = &self.rest[1..];
        let end = inner.find(quote).ok_or_else(|| format!("a {quote} is not closed"))?;
        let expression = match quote {
            '\'' => Expression::Text(inner[..end].to_owned()),
            _ => Expression::Field((self.index)(&inner[..end])),
        };
        self.skip(end + 2);
        Ok(expression)
    }

    fn number(&mut self) -> Result<Expression, String> {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let number = Number::parse(&self.rest[..end]).ok_or_else(|| self.expected("a number"))?;
        self.skip(end);
        Ok(Expression::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_sdk::json;

    use super::*;

    fn compute(text: &str) -> Result<Value, String> {
        let mut names: Vec<String> = Vec::new();
        let expression = Expression::parse(text, &mut |name| {
            names.push(name.to_owned());
            names.len() - 1
        })?;
        let value = br#"{"a":7,"b":2,"x y":0.5,"t":"ten","n":null}"#;
        let mut found = Vec::new();
        json::find(value, &names, &mut found).map_err(|e| e.to_string())?;
        expression.compute(&found, &names).map_err(|e| e.to_string())
    }

    fn int(n: i64) -> Value {
        Value::Number(Number::Int(n))
    }

    #[test]
    fn expressions_come_to_what_a_calculator_says() {
        for (text, expected) in [
            ("a + b * 3", int(13)),
            ("(a + b) * 3", int(27)),
            ("a - b - 1", int(4)),
            ("-a + 8", int(1)),
            ("8 / b", int(4)),
            ("a / b", Value::Number(Number::Float(3.5))),
            ("`x y` * 4", Value::Number(Number::Float(2.0))),
            ("9223372036854775807 + 1", Value::Number(Number::Float(9_223_372_036_854_775_808.0))),
            ("a / 0", Value::Null),
            ("n + 1", Value::Null),
            ("missing * 2", Value::Null),
            ("t & '-' & a & n", Value::Text("ten-7".into())),
        ] {
            assert_eq!(compute(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, message) in [
            ("a +", "at the end"),
            ("a b", "expected an operator instead of `b` (character 3)"),
            ("(a", "expected `)` at the end"),
            ("'a", "a ' is not closed"),
            ("1x", "expected a number"),
            ("t * 2", "`t` is not a number: \"ten\""),
            (&"(".repeat(100), "inside one another"),
        ] {
            let e = compute(text).unwrap_err();
            assert!(e.contains(message), "{text}: {e}");
        }
    }
}
