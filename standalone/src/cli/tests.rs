use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(arguments: &[&str]) -> Result<Command, ErrorKind> {
    let cli = Cli::try_parse_from([&["cryptoserve"], arguments].concat()).map_err(|error| error.kind())?;
    Ok(cli.command.unwrap_or(Command::Serve))
}

fn token(arguments: &[&str]) -> Result<TokenArgs, ErrorKind> {
    match parse(&[&["token"], arguments].concat())? {
        Command::Token(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn without_a_command_it_serves() {
    assert!(matches!(parse(&[]), Ok(Command::Serve)));
    assert!(matches!(parse(&["serve"]), Ok(Command::Serve)));
    assert!(parse(&["server"]).is_err());
    assert!(parse(&["serve", "x"]).is_err());
}

#[test]
fn a_token_is_for_one_holder() {
    let of = |arguments: &[&str]| {
        token(arguments).map(|args| (args.role(), args.name().as_str().to_owned(), args.ttl.as_secs()))
    };
    assert_eq!(of(&[]), Ok((Role::Service, "default".into(), 3600)));
    assert_eq!(of(&["--admin"]), Ok((Role::Admin, "admin".into(), 3600)));
    assert_eq!(of(&["--operator", "--ttl", "90"]), Ok((Role::Operator, "operator".into(), 90)));
    assert_eq!(of(&["--identity", "billing", "--ttl=1h30m"]), Ok((Role::Service, "billing".into(), 5400)));
    assert_eq!(of(&["--ttl", "90d"]), Ok((Role::Service, "default".into(), 90 * 86_400)));
    for two in [["--admin", "--operator"], ["--admin", "--identity=a"], ["--operator", "--identity=a"]] {
        assert_eq!(of(&two), Err(ErrorKind::ArgumentConflict), "{two:?}");
    }
    for wrong in ["--ttl=0", "--ttl=0d", "--ttl=soon", "--ttl=-1h", "--identity=A", "--identity="] {
        assert!(of(&[wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn an_anchor_is_given_or_in_a_file() {
    let of = |anchor: &str| -> Result<Vec<Anchor>, ErrorKind> {
        match parse(&["audit", "verify", "--anchor", anchor])? {
            Command::Audit(AuditCommand::Verify(args)) => Ok(args.anchor),
            other => panic!("{other:?}"),
        }
    };
    let hash = "ab".repeat(32);
    assert!(matches!(&of(&format!("7:{hash}")).unwrap()[..], [Anchor::Given(anchors)] if anchors.len() == 1));
    for file in ["server.log", "./7", "C:log"] {
        assert!(
            matches!(&of(file).unwrap()[..], [Anchor::File(path)] if path.to_str() == Some(file)),
            "{file}"
        );
    }
    assert_eq!(of("7:abc").unwrap_err(), ErrorKind::ValueValidation, "no file is meant");
    assert_eq!(parse(&["audit"]).unwrap_err(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    for wrong in [["--from", "yesterday"], ["--identity-id", "me"], ["--key-version", "x"]] {
        assert_eq!(
            parse(&[&["audit", "export"], &wrong[..]].concat()).unwrap_err(),
            ErrorKind::ValueValidation
        );
    }
}

#[test]
fn a_tokens_contexts_are_a_list_or_all() {
    let of = |text: &str| token(&["--contexts", text]).map(|args| args.contexts.map(|all| all.to_string()));
    assert_eq!(token(&[]).map(|args| args.contexts), Ok(None));
    assert_eq!(of("user-pii, general"), Ok(Some("general user-pii".into())));
    assert_eq!(of("*"), Ok(Some("*".into())));
    for wrong in ["", "a,", "a,*", "A", "a b"] {
        assert_eq!(of(wrong), Err(ErrorKind::ValueValidation), "{wrong}");
    }
    assert_eq!(token(&["--operator", "--contexts", "a"]).unwrap_err(), ErrorKind::ArgumentConflict);
}

#[test]
fn encryption_needs_a_context_and_decryption_does_not() {
    assert!(matches!(parse(&["encrypt"]), Err(ErrorKind::MissingRequiredArgument)));
    assert!(matches!(
        parse(&["encrypt", "--context", "general", "-", "-o", "out", "-f"]),
        Ok(Command::Encrypt(EncryptArgs { context, transfer }))
            if context.as_str() == "general" && transfer.force && transfer.output.is_some()
    ));
    assert!(matches!(parse(&["decrypt", "a.cs"]), Ok(Command::Decrypt(DecryptArgs { context: None, .. }))));
    assert!(parse(&["decrypt", "a.cs", "b.cs"]).is_err());
}

#[test]
fn a_token_is_never_an_argument() {
    for command in ["encrypt", "decrypt"] {
        let arguments = [command, "--context", "general", "--token", "canary"];
        assert!(matches!(parse(&arguments), Err(ErrorKind::UnknownArgument)), "{command}");
    }
}

#[test]
fn a_server_is_an_http_address_without_credentials() {
    let of = |url: &str| parse(&["decrypt", "--server", url]);
    for url in ["http://127.0.0.1:8003", "https://crypto.example/base/", "http://[::1]:8003", ""] {
        assert!(of(url).is_ok(), "{url}");
    }
    for url in ["ftp://a", "127.0.0.1:8003", "http://user:canary@a", "http://a/?x", "http://a/#x"] {
        assert!(matches!(of(url), Err(ErrorKind::ValueValidation | ErrorKind::InvalidValue)), "{url}");
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    assert!(matches!(parse(&["--help"]), Err(ErrorKind::DisplayHelp)));
    assert!(matches!(parse(&["--version"]), Err(ErrorKind::DisplayVersion)));
    assert!(matches!(parse(&["completions", "bash"]), Ok(Command::Completions { .. })));
    assert!(matches!(parse(&["completions", "nosuchshell"]), Err(ErrorKind::InvalidValue)));
}

#[test]
fn backups_name_their_directory_and_the_doctor_its_reason() {
    assert!(matches!(parse(&["backup", "--to", "b"]), Ok(Command::Backup(args)) if !args.with_secrets));
    assert!(
        matches!(parse(&["backup", "--to", "b", "--with-secrets"]), Ok(Command::Backup(args)) if args.with_secrets)
    );
    assert!(matches!(parse(&["restore", "--from", "b"]), Ok(Command::Restore(_))));
    for missing in ["backup", "restore"] {
        assert!(matches!(parse(&[missing]), Err(ErrorKind::MissingRequiredArgument)), "{missing}");
    }
    assert!(
        matches!(parse(&["doctor", "--json", "--replicas", "3"]), Ok(Command::Doctor(args)) if !args.after_restore)
    );
    assert!(matches!(parse(&["doctor", "--dry-run"]), Err(ErrorKind::MissingRequiredArgument)));
    assert!(matches!(parse(&["doctor", "--after-restore", "--json"]), Err(ErrorKind::ArgumentConflict)));
    let lists = ["doctor", "--after-restore", "--destructions", "a", "--destructions", "b", "--dry-run"];
    assert!(
        matches!(parse(&lists), Ok(Command::Doctor(args)) if args.destructions.len() == 2 && args.dry_run)
    );
}

#[test]
fn a_master_key_is_named_by_its_fingerprint() {
    let of = |arguments: &[&str]| match parse(&[&["rewrap-keys"], arguments].concat())? {
        Command::RewrapKeys(args) => Ok(args.to.map(|to| to.to_string())),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&["--to", "00112233445566FF"]), Ok(Some("00112233445566ff".into())));
    for wrong in ["", "0011223344556677889900", "001122334455667", "00112233445566xx", "all"] {
        assert_eq!(of(&["--to", wrong]), Err(ErrorKind::ValueValidation), "{wrong}");
    }
    assert_eq!(of(&["0011223344556677"]), Err(ErrorKind::UnknownArgument));
}
