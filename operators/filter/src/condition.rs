//! One condition on one field: how values compare. Knows nothing of records.

use std::{borrow::Cow, cmp::Ordering};

use cofferdam_sdk::json::{Number, Raw};
use serde::Deserialize;
use serde_json::Value;

/// How a field is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Exists,
    Missing,
    Contains,
    In,
}

/// A field's content; a missing field is `None` around it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    Number(Number),
    Text(Cow<'a, str>),
    Boolean(bool),
    /// An array or an object: its JSON.
    Other(&'a str),
}

impl<'a> Field<'a> {
    /// A JSON value; `null` counts as missing.
    pub(crate) fn from_json(raw: Option<Raw<'a>>) -> Option<Self> {
        let raw = raw.filter(|raw| !raw.is_null())?;
        if let Some(text) = raw.string() {
            return Some(Self::Text(text));
        }
        let number = || raw.number().map(Self::Number);
        let boolean = || raw.boolean().map(Self::Boolean);
        Some(number().or_else(boolean).unwrap_or(Self::Other(raw.json())))
    }

    /// A CSV field; an empty one counts as missing.
    pub(crate) fn from_text(text: &'a str) -> Option<Self> {
        (!text.is_empty()).then_some(Self::Text(Cow::Borrowed(text)))
    }

    fn contains(&self, part: &str) -> bool {
        match self {
            Self::Text(text) => text.contains(part),
            _ => false,
        }
    }

    /// The order of the field and what it is compared with; none between types
    /// that have no order. Text is read as a number where a number is asked for.
    fn compare(&self, with: &Operand) -> Option<Ordering> {
        match (self, with) {
            (Self::Number(a), Operand::Number(b)) => Some(a.compare(*b)),
            (Self::Text(a), Operand::Number(b)) => Number::parse(a).map(|a| a.compare(*b)),
            (Self::Text(a), Operand::Text(b)) => Some(a.as_ref().cmp(b)),
            (Self::Boolean(a), Operand::Boolean(b)) => Some(a.cmp(b)),
            (Self::Text(a), Operand::Boolean(b)) => a.parse::<bool>().ok().map(|a| a.cmp(b)),
            _ => None,
        }
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Number(Number),
    Text(String),
    Boolean(bool),
}

impl Operand {
    fn new(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Bool(b) => Ok(Self::Boolean(*b)),
            Value::Number(n) => Number::parse(&n.to_string())
                .map(Self::Number)
                .ok_or_else(|| format!("{n} is too great")),
            Value::Null => Err("give the value to compare with".into()),
            other => Err(format!("a number, text or boolean is needed, not {other}")),
        }
    }
}

/// A test of one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Compare { any_of: &'static [Ordering], with: Operand },
    Differs(Operand),
    Exists,
    Missing,
    Contains(String),
    In(Vec<Operand>),
}

impl Condition {
    /// A condition from its configuration; the error says what is wrong with the
    /// value.
    pub(crate) fn new(op: Op, value: &Value) -> Result<Self, String> {
        use Ordering::{Equal, Greater, Less};
        let operand = || Operand::new(value);
        let compare = |any_of: &'static [Ordering]| Ok(Self::Compare { any_of, with: operand()? });
        match op {
            Op::Eq => compare(&[Equal]),
            Op::Lt => compare(&[Less]),
            Op::Le => compare(&[Less, Equal]),
            Op::Gt => compare(&[Greater]),
            Op::Ge => compare(&[Greater, Equal]),
            Op::Ne => Ok(Self::Differs(operand()?)),
            Op::Contains => match value {
                Value::String(part) => Ok(Self::Contains(part.clone())),
                _ => Err("`contains` needs text".into()),
            },
            Op::In => match value {
                Value::Array(values) => {
                    let operands = values.iter().map(Operand::new);
                    Ok(Self::In(operands.collect::<Result<_, _>>()?))
                }
                _ => Err("`in` needs a list".into()),
            },
            Op::Exists | Op::Missing if !value.is_null() => {
                Err("`exists` and `missing` take no value".into())
            }
            Op::Exists => Ok(Self::Exists),
            Op::Missing => Ok(Self::Missing),
        }
    }

    /// Whether it holds. A missing field meets `missing` and `ne` only.
    pub(crate) fn holds(&self, field: Option<Field<'_>>) -> bool {
        let Some(field) = field else {
            return matches!(self, Self::Missing | Self::Differs(_));
        };
        match self {
            Self::Exists => true,
            Self::Missing => false,
            Self::Contains(part) => field.contains(part),
            Self::Compare { any_of, with } => {
                field.compare(with).is_some_and(|order| any_of.contains(&order))
            }
            Self::Differs(with) => field.compare(with) != Some(Ordering::Equal),
            Self::In(values) => {
                values.iter().any(|with| field.compare(with) == Some(Ordering::Equal))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(op: Op, value: &Value, field: &Value) -> bool {
        let text = json!({ "f": field }).to_string();
        let raw = cofferdam_sdk::json::field(text.as_bytes(), "f").unwrap();
        Condition::new(op, value).unwrap().holds(Field::from_json(raw))
    }

    #[test]
    fn comparisons_follow_the_table() {
        let table = [
            (Op::Eq, json!(1), json!(1.0), true),
            (Op::Eq, json!("a"), json!("a"), true),
            (Op::Eq, json!(true), json!(true), true),
            (Op::Eq, json!(1), json!("1"), true),
            (Op::Eq, json!("1"), json!(1), false),
            (Op::Ne, json!("a"), json!(5), true),
            (Op::Ne, json!("a"), json!(null), true),
            (Op::Lt, json!(2), json!(1.5), true),
            (Op::Lt, json!(2), json!("x"), false),
            (Op::Ge, json!("b"), json!("a"), false),
            (Op::Le, json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64), true),
            (Op::Gt, json!(9_007_199_254_740_992_i64), json!(9_007_199_254_740_993_i64), true),
            (Op::Contains, json!("bc"), json!("abcd"), true),
            (Op::Contains, json!("1"), json!(123), false),
            (Op::In, json!([1, "x"]), json!("x"), true),
            (Op::In, json!([1, "x"]), json!([1]), false),
        ];
        for (op, value, field, expected) in table {
            assert_eq!(holds(op, &value, &field), expected, "{op:?} {value} on {field}");
        }
    }

    #[test]
    fn values_that_do_not_fit_the_operator_are_refused() {
        for (op, value) in [
            (Op::Lt, json!(null)),
            (Op::Eq, json!([1])),
            (Op::In, json!(1)),
            (Op::Contains, json!(1)),
            (Op::Exists, json!(1)),
        ] {
            assert!(Condition::new(op, &value).is_err(), "{op:?} {value}");
        }
    }
}
