//! Accounts of the machine, by name or number, from `/etc/passwd` and `/etc/group`.
//!
//! Directory services (LDAP and the like) are not asked: a number always works.
use std::fs;

/// As whom a task runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// The account called `user`, which may also be `uid` or `uid:gid`.
pub fn account(user: &str) -> Result<Account, String> {
    let read =
        |path| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    account_in(user, &read("/etc/passwd")?, &read("/etc/group")?)
}

fn account_in(user: &str, passwd: &str, group: &str) -> Result<Account, String> {
    if let Some((uid, gid)) = user.split_once(':') {
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else {
            return Err(format!("user {user:?}: write a name, a number, or uid:gid"));
        };
        return Ok(Account { uid, gid, groups: Vec::new() });
    }
    let by_number = user.parse::<u32>().ok();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if name == user || Some(uid) == by_number {
            return Ok(Account { uid, gid, groups: groups_of(name, group) });
        }
    }
    match by_number {
        Some(uid) => Ok(Account { uid, gid: uid, groups: Vec::new() }),
        None => Err(format!("there is no user {user:?} in /etc/passwd of this machine")),
    }
}

fn groups_of(name: &str, group: &str) -> Vec<u32> {
    group
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members] = fields[..] else { return None };
            members.split(',').any(|member| member == name).then(|| gid.parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nlogs:x:4:syslog,web\n";

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let web = Account { uid: 33, gid: 34, groups: vec![4] };
        assert_eq!(account_in("web", PASSWD, GROUP), Ok(web.clone()));
        assert_eq!(account_in("33", PASSWD, GROUP), Ok(web));
        assert_eq!(account_in("5:6", PASSWD, GROUP).unwrap().gid, 6);
        assert_eq!(account_in("77", PASSWD, GROUP).unwrap().uid, 77);
        assert!(account_in("wob", PASSWD, GROUP).unwrap_err().contains("no user \"wob\""));
        assert!(account_in("a:b", PASSWD, GROUP).is_err());
    }
}
