//! `cofferdam profile …`: names for servers.

use std::path::PathBuf;

use serde_json::json;

use super::{
    load_profiles,
    profile_args::{AddArgs, ProfileCommand},
    refuse, unusable,
};
use crate::{
    cli::{exit::Exit, human::table},
    client::profiles::{Profile, Profiles, ProfilesError},
};

pub(in crate::cli) fn profile(command: &ProfileCommand) -> Result<Exit, Exit> {
    let (path, mut profiles) = load_profiles()?;
    let save = |profiles: &Profiles| {
        let path = path.as_deref().ok_or_else(|| unusable(&ProfilesError::NoHome))?;
        profiles.save(path).map_err(|error| unusable(&error))
    };
    let (name, json, done, said) = match command {
        ProfileCommand::Add(args) => {
            let known = profiles.profile.insert(args.name.clone(), made(args)?);
            let current = profiles.current.get_or_insert_with(|| args.name.clone());
            let used =
                if *current == args.name { "; it is used if nothing else is said" } else { "" };
            let done = if known.is_some() { "changed" } else { "added" };
            let said = format!("{done} `{}`: {}{used}\n", args.name, args.server);
            save(&profiles)?;
            (&args.name, args.json, done, said)
        }
        ProfileCommand::Use(args) => {
            let server = profiles.get(&args.name).map_err(|e| unusable(&e))?.server.clone();
            profiles.current = Some(args.name.clone());
            save(&profiles)?;
            let said = format!("`{}` is used if nothing else is said: {server}\n", args.name);
            (&args.name, args.json, "used", said)
        }
        ProfileCommand::Rm(args) => {
            profiles.get(&args.name).map_err(|error| unusable(&error))?;
            profiles.profile.remove(&args.name);
            profiles.current.take_if(|current| *current == args.name);
            save(&profiles)?;
            (&args.name, args.json, "forgotten", format!("forgot `{}`\n", args.name))
        }
        ProfileCommand::List(args) => return list(args.json, &profiles),
    };
    let current = profiles.current.as_ref() == Some(name);
    super::show(json, &json!({"name": name, "done": done, "current": current}), |_| said)
}

fn made(args: &AddArgs) -> Result<Profile, Exit> {
    // It is to be found from other directories, too.
    let absolute = |path: &Option<PathBuf>| {
        let path = path.as_ref().map(std::path::absolute).transpose();
        path.map_err(|error| refuse(&format!("the current directory cannot be found: {error}")))
    };
    Ok(Profile {
        server: args.server.to_string(),
        token: args.token.clone(),
        token_file: absolute(&args.token_file)?,
        tenant: args.tenant.clone(),
        ca: absolute(&args.ca)?,
    })
}

fn list(json: bool, profiles: &Profiles) -> Result<Exit, Exit> {
    let token = |profile: &Profile| match (&profile.token, &profile.token_file) {
        (Some(_), _) => "kept".to_owned(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "-".to_owned(),
    };
    let is_current = |name| profiles.current.as_ref() == Some(name);
    let all = profiles.profile.iter().map(|(name, profile)| {
        json!({
            "name": name,
            "server": profile.server,
            "tenant": profile.tenant,
            "token": profile.token.is_some(),
            "token_file": profile.token_file,
            "ca": profile.ca,
            "current": is_current(name),
        })
    });
    super::show(json, &all.collect(), |_| {
        let rows: Vec<Vec<String>> = profiles
            .profile
            .iter()
            .map(|(name, profile)| {
                let mark = if is_current(name) { "*" } else { " " };
                let tenant = profile.tenant.as_ref().map_or("-", |tenant| tenant.as_str());
                vec![
                    format!("{mark} {name}"),
                    profile.server.clone(),
                    tenant.to_owned(),
                    token(profile),
                ]
            })
            .collect();
        table(&["  PROFILE", "SERVER", "TENANT", "TOKEN"], &rows, 4)
    })
}
