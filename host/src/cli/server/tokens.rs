//! `cofferdam token …`: the tokens of a server.

use serde_json::{Value, json};

use super::{
    Server, moment, refuse, text,
    token_args::{CreateArgs, RevokeArgs, TokenCommand},
};
use crate::{
    cli::{
        exit::Exit,
        human::{self, table},
        terminal,
    },
    client::Request,
    clock::Clock,
};

pub(in crate::cli) fn token(command: &TokenCommand) -> Result<Exit, Exit> {
    match command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::List(at) => {
            let answer = Server::of(&at.server)?.ask(&Request::get(&["v1", "tokens"]))?;
            super::show(at.json, &answer.json, |answer| list(answer, Clock::System.now_millis()))
        }
        TokenCommand::Revoke(args) => revoke(args),
    }
}

fn create(args: &CreateArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let role = clap::ValueEnum::to_possible_value(&args.role);
    let role = role.map(|role| role.get_name().to_owned());
    let mut asked = json!({"name": args.name, "role": role});
    match (&server.tenant, args.all_tenants) {
        (_, true) => {}
        (Some(tenant), false) => asked["tenant"] = tenant.as_str().into(),
        (None, false) => {
            return Err(refuse("say for which tenant with --tenant NAME, or --all-tenants"));
        }
    }
    if let Some(lifetime) = args.expires {
        let millis = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        asked["expires_at"] = Clock::System.now_millis().saturating_add(millis).into();
    }
    let made = server.ask(&Request::post(&["v1", "tokens"]).json(&asked))?.json;
    if !args.at.json {
        terminal::say(&human::plain(&format!(
            "token {}: {} of {}, {}",
            text(&made["id"]),
            text(&made["role"]),
            whose(&made),
            match made["expires_at"].as_i64() {
                Some(at) => format!("until {}", human::time(at)),
                None => "until it is revoked".to_owned(),
            }
        )));
    }
    super::show(args.at.json, &made, |made| format!("{}\n", text(&made["token"])))
}

fn whose(token: &Value) -> String {
    match token["tenant"].as_str() {
        Some(tenant) => format!("tenant `{tenant}`"),
        None => "every tenant".to_owned(),
    }
}

fn list(answer: &Value, now: i64) -> String {
    let tokens = answer["tokens"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = tokens
        .map(|token| {
            let state = match (token["revoked_at"].as_i64(), token["expires_at"].as_i64()) {
                (Some(_), _) => "revoked",
                (None, Some(at)) if at <= now => "expired",
                (None, _) => "valid",
            };
            vec![
                text(&token["id"]).to_owned(),
                token["tenant"].as_str().unwrap_or("(all)").to_owned(),
                text(&token["role"]).to_owned(),
                state.to_owned(),
                moment(&token["created_at"]),
                moment(&token["expires_at"]),
                text(&token["name"]).to_owned(),
            ]
        })
        .collect();
    table(&["TOKEN", "TENANT", "ROLE", "STATE", "CREATED", "EXPIRES", "FOR"], &rows, 7)
}

fn revoke(args: &RevokeArgs) -> Result<Exit, Exit> {
    let server = Server::of(&args.at.server)?;
    let id = args.id.to_string();
    let answer = server.ask(&Request::delete(&["v1", "tokens", &id]))?;
    super::show(args.at.json, &answer.json, |_| format!("token {id} opens nothing any more\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_which_tokens_open_something() {
        let token = |revoked: Option<i64>, expires: Option<i64>| {
            json!({"id": "1", "name": "n", "role": "viewer", "tenant": null, "created_at": 0,
                   "revoked_at": revoked, "expires_at": expires})
        };
        let answer = json!({"tokens": [
            token(None, None), token(None, Some(6)), token(None, Some(5)), token(Some(1), None)
        ]});
        let shown = list(&answer, 5);
        let states: Vec<_> =
            shown.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)).collect();
        assert_eq!(states, ["valid", "valid", "expired", "revoked"], "{shown}");
    }
}
