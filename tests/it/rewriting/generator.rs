//! Statements over a small schema, from a number.

pub const TABLES: [(&str, &[&str]); 6] = [
    ("invoices", &["id", "tenant_id", "email", "amount"]),
    ("lines", &["id", "invoice_id", "what", "tenant_id"]),
    ("parent", &["id", "tenant_id", "email"]),
    ("parent_1", &["id", "tenant_id", "email"]),
    ("v", &["id", "tenant_id", "email", "amount"]),
    ("countries", &["code", "name"]),
];

/// Positions and spellings in which a rewriter may overlook a table.
pub const ATTACKS: [&str; 42] = [
    "select (select string_agg(email, ',') from invoices)",
    "select l.x from countries c, lateral (select string_agg(email, ',') x from invoices) l",
    "select 1 as a order by (select string_agg(email, ',') from invoices)",
    "select 1 limit (select count(*) from invoices where email = 'FOREIGN')",
    "select sum(1) over (partition by (select string_agg(email, ',') from invoices)) from countries",
    "select min(i.email) from countries c, invoices i",
    "select min(email) from only (invoices)",
    "select email from invoices *",
    "select array(select email from invoices)",
    "select case when true then (select string_agg(email, ',') from invoices) end",
    "select * from unnest(array[(select string_agg(email, ',') from invoices)])",
    "with z as (select email from invoices) table z",
    "with recursive z(e) as (select email from invoices union all select e from z where false) select * from z",
    "insert into lines (id, what) select id + 5000, email from invoices returning what",
    "insert into lines (id, what) values (6000, (select string_agg(email, ',') from invoices)) returning what",
    "update lines set id = id returning (select string_agg(email, ',') from invoices)",
    "update lines set what = (select string_agg(email, ',') from invoices) returning what",
    "update lines set (what) = (select max(email) from invoices) returning what",
    "update lines l set what = i.email from invoices i where i.id = 1 returning what",
    "delete from lines using invoices i returning i.email",
    "copy invoices to stdout",
    "copy (table invoices) to stdout",
    "explain (analyze, costs off, timing off) select from invoices",
    "select json_agg(i) from invoices i",
    "select i from invoices i",
    "select (i).email from invoices i",
    "select (i.*).* from invoices i",
    "select row(i.*) from invoices i",
    "select invoices from countries left join invoices on true",
    "select (select min(email) from invoices where exists (with invoices as (select 1) select 1 from invoices))",
    "select U&\"\\0065mail\" from U&\"\\0069nvoices\"",
    "select email end from invoices",
    "select email like from invoices",
    "select 1 end; select email from invoices",
    "select code from countries where code >-- 2 and b='\n 5 union all select length(email) from invoices --'",
    "select name from countries where true union all table invoices",
    "select email from invoices where id = 1 or true -- ) and (false",
    "select email from invoices where id = 1 or true /* ) and ( */ ;",
    "select email from invoices where (true) or (true)",
    "select i.email from invoices i where exists (select 1 from countries i where i.code = 1) or true",
    "select * from (invoices natural full join lines) as j",
    "values ((select string_agg(email, ',') from public.invoices))",
];

/// A table in FROM.
#[derive(Clone)]
struct Item {
    name: String,
    columns: Vec<String>,
    /// Columns of a table and not of a sub-select.
    system: bool,
}

pub struct Generator {
    state: u64,
    /// Sources of this level and the levels around it, the innermost last.
    scope: Vec<Vec<Item>>,
    ctes: Vec<Item>,
    depth: usize,
    next: usize,
    /// Where the tables begin that a condition in ON may name.
    joined: usize,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, scope: Vec::new(), ctes: Vec::new(), depth: 0, next: 0, joined: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let at = self.below(of.len());
        of[at].clone()
    }

    pub fn statement(&mut self) -> String {
        let text = match self.below(20) {
            0..=10 => self.query(),
            11 | 12 => self.update(),
            13 | 14 => self.delete(),
            15 | 16 => self.insert(),
            17 => self.merge(),
            18 => format!("copy ({}) to stdout", self.query()),
            _ => self
                .pick(&[
                    "copy invoices to stdout",
                    "copy lines (what, id) to stdout csv",
                    "table lines",
                    "copy parent_1 to stdout",
                ])
                .to_owned(),
        };
        match self.below(12) {
            0 => format!("{text} -- end"),
            1 => format!("{text} /* ( */ ;"),
            2 => text.replacen(' ', "\n\t", 3),
            _ => text,
        }
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        // Some aliases are names of other tables or of columns.
        let name =
            if self.one_in(12) { self.pick(&["lines", "countries", "tenant_id", "invoices", "parent"]) } else { "" };
        let taken = self.scope.last().is_some_and(|items| items.iter().any(|item| item.name == name));
        if name.is_empty() || taken { format!("a{}", self.next) } else { name.to_owned() }
    }

    fn with(&mut self) -> String {
        if self.depth > 1 || !self.one_in(6) {
            return String::new();
        }
        let recursive = if self.one_in(3) { "recursive " } else { "" };
        let name = self.pick(&["c1", "invoices", "lines"]).to_owned();
        let outer = std::mem::take(&mut self.scope);
        let body = match self.below(4) {
            0 => "update lines set what = 'w' returning id, what".to_owned(),
            1 => "delete from lines where id > 6 returning id, what".to_owned(),
            _ => self.simple_select(&["id", "what"]),
        };
        self.scope = outer;
        let columns = vec!["x".to_owned(), "t".to_owned()];
        self.ctes.push(Item { name: name.clone(), columns, system: false });
        let recursive = if body.starts_with("select") { recursive } else { "" };
        let qualified =
            if recursive.is_empty() { body } else { body.replace(" from ", " from public.").replace("public.(", "(") };
        format!("with {recursive}{name} (x, t) as ({qualified}) ")
    }

    fn simple_select(&mut self, _: &[&str]) -> String {
        let (table, number, text) =
            self.pick(&[("invoices", "id", "email"), ("lines", "id", "what"), ("countries", "code", "name")]);
        let filter = if self.one_in(2) { format!(" where {number} > {}", self.below(5)) } else { String::new() };
        format!("select {number}, {text} from {table}{filter}")
    }

    /// A whole query, perhaps of several members.
    fn query(&mut self) -> String {
        self.depth += 1;
        let ctes = self.ctes.len();
        let with = self.with();
        let text = match self.below(8) {
            0 => {
                let operation = self.pick(&["union", "union all", "intersect", "except", "except all"]);
                format!("{} {operation} {}", self.pair(), self.pair())
            }
            1 => format!("({}) union all ({}) order by 1, 2", self.pair(), self.pair()),
            2 => self.grouped(),
            _ => self.select(),
        };
        self.ctes.truncate(ctes);
        self.depth -= 1;
        with + &text
    }

    /// A SELECT of a number and a text.
    fn pair(&mut self) -> String {
        self.scope.push(Vec::new());
        let before = std::mem::take(&mut self.joined);
        let from = self.from();
        let text = format!("select {}, {} from {from}{}", self.number(), self.text(), self.condition());
        self.scope.pop();
        self.joined = before;
        text
    }

    fn select(&mut self) -> String {
        self.scope.push(Vec::new());
        let from = self.from();
        let items = self.scope.last().cloned().unwrap_or_default();
        let item = self.pick(&items);
        let list = match self.below(10) {
            0 => "*".to_owned(),
            1 => format!("{}.*", item.name),
            2 => item.name.clone(),
            3 if item.system => format!("{}.ctid, {}.tableoid, {}", item.name, item.name, self.number()),
            4 => format!("count(*) over (partition by {}), {}", self.text(), self.number()),
            5 => format!("distinct {}, {}", self.number(), self.text()),
            6 => format!("row({}, {}), {}", self.number(), item.name, self.truth()),
            7 => format!("to_json({})", item.name),
            _ => format!("{}, {} as where_1, {}", self.number(), self.text(), self.number()),
        };
        let condition = self.condition();
        let lock = match self.below(14) {
            0 => " for update".to_owned(),
            1 => format!(" for share of {}", item.name),
            _ => String::new(),
        };
        self.scope.pop();
        format!("select {list} from {from}{condition}{lock}")
    }

    fn grouped(&mut self) -> String {
        self.scope.push(Vec::new());
        let from = self.from();
        let (number, text) = (self.number(), self.text());
        let items = self.scope.last().cloned().unwrap_or_default();
        let item = self.pick(&items);
        let dependent = format!("{}.{}", item.name, item.columns[item.columns.len() - 1]);
        let key = format!("{}.{}", item.name, item.columns[0]);
        let condition = self.condition();
        let grouped = match self.below(5) {
            0 => format!("select {key}, {dependent}, count(*) from {from}{condition} group by {key}"),
            1 => format!(
                "select {key}, count({number}), min({text}) from {from}{condition} group by 1 having count(*) > 1"
            ),
            2 => format!("select {key} as k, sum({number}) from {from}{condition} group by grouping sets ((k), ())")
                .replace("(k)", "(1)"),
            3 => format!("select {key}, sum({number}) from {from}{condition} group by rollup ({key})"),
            _ => format!(
                "select count(*), max({number}), string_agg({text}, ',' order by {text}) from {from}{condition}"
            ),
        };
        self.scope.pop();
        grouped
    }

    fn condition(&mut self) -> String {
        match self.below(4) {
            0 => String::new(),
            1 => format!(" where {} or {}", self.truth(), self.truth()),
            _ => format!(" where {}", self.truth()),
        }
    }

    fn from(&mut self) -> String {
        let mut text = self.joined();
        if self.one_in(4) {
            let second = self.joined();
            text = format!("{text}, {second}");
        }
        text
    }

    fn joined(&mut self) -> String {
        let before = std::mem::replace(&mut self.joined, self.scope.last().map_or(0, Vec::len));
        let mut text = self.source();
        let joins = [0, 0, 1, 1, 1, 2][self.below(6)];
        for number in 0..joins {
            let right = self.source();
            let join = self.pick(&["join", "left join", "right join", "full join", "left join", "natural left join"]);
            text = match join {
                "natural left join" if number == 0 && !text.contains(" join ") => format!("{text} {join} {right}"),
                "full join" => format!("{text} {join} {right} on {}", self.pick(&["true", "false"])),
                _ => format!("{text} {} {right} on {}", join.trim_start_matches("natural "), self.truth()),
            };
        }
        self.joined = before;
        if text.contains(" join ") && !text.starts_with('(') && self.one_in(5) { format!("({text})") } else { text }
    }

    fn source(&mut self) -> String {
        if self.depth < 2 && self.one_in(6) {
            let outer = self.scope.clone();
            let lateral = if self.one_in(3) {
                "lateral "
            } else {
                self.scope.clear();
                ""
            };
            self.depth += 1;
            let inner = self.pair();
            self.depth -= 1;
            self.scope = outer;
            let name = self.fresh();
            let columns = vec!["p".to_owned(), "q".to_owned()];
            self.push(Item { name: name.clone(), columns, system: false });
            return format!("{lateral}({inner}) as {name} (p, q)");
        }
        if self.one_in(14) {
            let (number, text) = (self.number(), self.text());
            let name = self.fresh();
            let columns = vec!["p".to_owned(), "q".to_owned()];
            self.push(Item { name: name.clone(), columns, system: false });
            return match self.below(4) {
                0 => format!("(values ({number}, {text}), (2, 'e2')) as {name} (p, q)"),
                1 => format!("lateral unnest(array[{number}, 1], array[{text}]) as {name} (p, q)"),
                2 => format!("lateral (select g, {text} from generate_series(1, {number}) g) as {name} (p, q)"),
                _ => format!(
                    "lateral (with w as (select * from public.lines) select id, what from w where id < {number}) as {name} (p, q)"
                ),
            };
        }
        if !self.ctes.is_empty() && self.one_in(2) {
            let cte = self.pick(&self.ctes.clone());
            let name = self.fresh();
            self.push(Item { name: name.clone(), columns: cte.columns, system: false });
            return format!("{} as {name}", cte.name);
        }
        let (table, columns) = self.pick(&TABLES);
        let mut columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let taken = self.scope.last().is_some_and(|items| items.iter().any(|item| item.name == table));
        let hidden = self.ctes.iter().any(|cte| cte.name == table);
        let view = table == "v";
        let schema = if hidden || self.one_in(6) { "public." } else { "" };
        let only = if !view && self.one_in(10) { "only " } else { "" };
        let mut name = table.to_owned();
        let mut alias = String::new();
        if taken || !self.one_in(3) {
            name = self.fresh();
            alias = format!(" {}{name}", self.pick(&["as ", ""]));
            if alias.starts_with(" as") && self.one_in(6) {
                let swapped = self.pick(&["tenant_id", "z1"]).to_owned();
                let second = if swapped == "tenant_id" { "z2" } else { "tenant_id" };
                columns[0] = swapped.clone();
                columns[1] = second.to_owned();
                for column in columns.iter_mut().skip(2).filter(|column| *column == "tenant_id") {
                    *column = "tenant_id_of".to_owned();
                }
                alias += &format!(" ({})", columns.join(", "));
            }
        }
        let sample =
            if !view && table != "parent" && self.one_in(12) { " tablesample system (100) repeatable (1)" } else { "" };
        self.push(Item { name, columns, system: !view });
        format!("{only}{schema}{table}{alias}{sample}")
    }

    fn push(&mut self, item: Item) {
        if let Some(level) = self.scope.last_mut() {
            level.push(item);
        } else {
            self.scope.push(vec![item]);
        }
    }

    /// A column of a type; numbers and texts are told by name.
    fn column(&mut self, text: bool) -> Option<String> {
        let is_text = |name: &str| matches!(name, "email" | "what" | "name" | "t" | "q");
        let plain = |name: &str| !matches!(name, "z1" | "z2" | "tenant_id_of");
        let level = match self.scope.len() {
            0 => return None,
            1 => 0,
            many if self.one_in(4) => many - 2,
            many => many - 1,
        };
        let from = if level + 1 == self.scope.len() { self.joined } else { 0 };
        let items = self.scope[level].get(from..).map(<[Item]>::to_vec).unwrap_or_default();
        let columns: Vec<String> = items
            .iter()
            .filter(|item| !item.columns.iter().any(|name| !plain(name)))
            .flat_map(|item| {
                item.columns.iter().filter(|name| is_text(name) == text).map(|name| format!("{}.{name}", item.name))
            })
            .collect();
        if columns.is_empty() { None } else { Some(self.pick(&columns)) }
    }

    fn number(&mut self) -> String {
        match self.below(8) {
            0 => self.below(6).to_string(),
            1 if self.depth < 2 => {
                self.depth += 1;
                self.scope.push(Vec::new());
                let before = std::mem::take(&mut self.joined);
                let from = self.from();
                let text = format!("(select count(*) from {from}{})", self.condition());
                self.scope.pop();
                self.joined = before;
                self.depth -= 1;
                text
            }
            2 => format!("({} - -1)", self.column(false).unwrap_or("2".into())),
            3 if self.depth < 2 => {
                self.depth += 1;
                let pair = self.pair();
                self.depth -= 1;
                match self.below(3) {
                    0 => format!("coalesce((select max(m) from ({pair}) as s (m, t)), 0)"),
                    1 => format!("cardinality(array(select m from ({pair}) as s (m, t)))"),
                    _ => format!("(with s (m, t) as materialized ({pair}) select count(*) from s, lines)"),
                }
            }
            _ => self.column(false).unwrap_or("3".into()),
        }
    }

    fn text(&mut self) -> String {
        match self.below(6) {
            0 => self.pick(&["'e1'", "'-- '", "$$/*$$", "e'\\''", "') or (true'"]).to_owned(),
            1 => format!("coalesce({}, 'none')", self.column(true).unwrap_or("'e2'".into())),
            _ => self.column(true).unwrap_or("'e3'::text".into()),
        }
    }

    fn truth(&mut self) -> String {
        match self.below(12) {
            0 | 1 => format!("{} = {}", self.number(), self.number()),
            2 => format!("{} is distinct from {}", self.text(), self.text()),
            3 if self.depth < 2 => {
                self.depth += 1;
                let text = format!("{}exists ({})", self.pick(&["", "not "]), self.pair());
                self.depth -= 1;
                text
            }
            4 if self.depth < 2 => {
                self.depth += 1;
                let text = format!(
                    "({}, {}::text) {}in ({})",
                    self.number(),
                    self.text(),
                    self.pick(&["", "not "]),
                    self.pair()
                );
                self.depth -= 1;
                text
            }
            5 => format!("({} or not {})", self.truth_flat(), self.truth_flat()),
            6 => format!("case when {} then {} else true end", self.truth_flat(), self.truth_flat()),
            7 => format!("{} and {}", self.truth_flat(), self.truth_flat()),
            8 => format!("{} is null", self.text()),
            9 if self.depth < 2 => {
                self.depth += 1;
                let text = self.pair();
                let quantified = self.pick(&["= any", "<> all", "> all", "< any"]);
                self.depth -= 1;
                format!("{} {quantified} (select m from ({text}) as s (m, t))", self.number())
            }
            _ => self.truth_flat(),
        }
    }

    fn truth_flat(&mut self) -> String {
        let operator = self.pick(&["<", ">", "<>", "<=", "="]);
        format!("{} {operator} {}", self.number(), self.below(8))
    }

    /// What is written to. Not what `with` writes to: which of two writes of one row is done, no plan has to say.
    fn target(&mut self, with: &str) -> (String, Item, &'static str, &'static str) {
        let tables = [
            ("lines", TABLES[1].1, "what", "invoice_id"),
            ("invoices", TABLES[0].1, "email", "amount"),
            ("parent", TABLES[2].1, "email", "id"),
            ("v", TABLES[4].1, "email", "amount"),
        ];
        let written = with.contains("update lines") || with.contains("delete from lines");
        let (table, columns, text, number) = self.pick(&tables[usize::from(written)..]);
        let name = if self.one_in(2) { "tgt" } else { table };
        let alias = if name == table { String::new() } else { format!(" as {name}") };
        let only = if matches!(table, "invoices" | "lines") && self.one_in(6) { "only " } else { "" };
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        (format!("{only}{table}{alias}"), Item { name: name.to_owned(), columns, system: false }, text, number)
    }

    fn update(&mut self) -> String {
        let with = self.with();
        let (target, item, text, number) = self.target(&with);
        self.scope.push(vec![item.clone()]);
        let value = format!("{}.{number} + 20", item.name);
        let from = if self.one_in(2) { format!(" from {}", self.from()) } else { String::new() };
        let set = match self.below(4) {
            0 => format!("{text} = (select max(email) from public.invoices)"),
            1 => format!("({text}, {number}) = row ('r', {value})"),
            2 => "tenant_id = 1".to_owned(),
            _ => format!("{number} = {value}, {text} = 'u'"),
        };
        let condition = self.condition();
        // What it returns of the other tables depends on which row was joined first.
        let returning = if self.one_in(2) {
            format!(" returning {}.id, (select count(*) from public.lines)", item.name)
        } else {
            String::new()
        };
        self.scope.pop();
        self.ctes.clear();
        format!("{with}update {target} set {set}{from}{condition}{returning}")
    }

    fn delete(&mut self) -> String {
        let with = self.with();
        let (target, item, _, _) = self.target(&with);
        self.scope.push(vec![item.clone()]);
        let using = if self.one_in(2) { format!(" using {}", self.from()) } else { String::new() };
        let condition = self.condition();
        let returning = match self.below(4) {
            0 | 1 => format!(" returning {}.*", item.name),
            2 => format!(" returning to_json({0}), {0}", item.name),
            _ => String::new(),
        };
        self.scope.pop();
        self.ctes.clear();
        format!("{with}delete from {target}{using}{condition}{returning}")
    }

    fn insert(&mut self) -> String {
        let id = 1 + self.below(20);
        let conflict = match self.below(6) {
            0 => " on conflict do nothing",
            1 => " on conflict (id) do update set email = 'c'",
            2 => " on conflict (id) do update set amount = x.amount + 1 where x.amount < 3 or x.email = 'e1'",
            3 => " on conflict (id) do update set email = (select max(what) from lines)",
            _ => "",
        };
        let body = match self.below(12) {
            0 => format!("(id, email) values ({id}, 'n'), ({}, (select min(what) from lines))", id + 40),
            1 => format!("values ({id})"),
            2 => format!("values ({id}, 1, 'n')"),
            3 => format!("values ({id}, default, 'n', 3)"),
            4 => format!("(id, tenant_id) values ({id}, {}), ({}, '1')", 1 + self.below(2), id + 40),
            5 => "(id, email) select id + 100, what from lines where id > 3 or true".to_owned(),
            6 => "(id, email) select l.id + 100, l.what from lines l left join public.invoices i on i.id = l.id"
                .to_owned(),
            7 => "(id, email) select distinct id + 100, what from lines union select code + 200, name from countries"
                .to_owned(),
            8 => "(id) select id + 100 from lines group by id having id > 2 order by 1".to_owned(),
            9 => "(email, id) table (select 'x', 5)".replace("table (select 'x', 5)", "select max(email), 300 from v"),
            10 => "(id, tenant_id) select id + 100, tenant_id from lines".to_owned(),
            _ => "(id, email) with w as (select id, what from lines) select id + 100, what from w".to_owned(),
        };
        let returning =
            self.pick(&["", " returning *", " returning id, (select count(*) from lines)", " returning to_json(x)"]);
        format!("insert into invoices as x {body}{conflict}{returning}")
    }

    fn merge(&mut self) -> String {
        let source = self.pick(&["lines as s", "(select id, what from lines) as s", "public.lines s", "parent as s"]);
        let condition =
            self.pick(&["s.id = x.id", "s.id = x.id and (x.amount > 1 or true)", "s.id = x.id + 1 or false"]);
        let action = self.pick(&[
            "when matched then delete",
            "when matched and x.amount > 1 then update set email = 'm' when not matched then do nothing",
            "when matched and case when x.amount > 1 then true end then update set amount = 9",
            "when not matched then insert (id, email) values (s.id + 100, 'm')",
            "when not matched and s.id > 2 then insert (id, tenant_id) values (s.id + 100, 1) when matched then update set amount = 0",
        ]);
        format!("merge into invoices as x using {source} on {condition} {action}")
    }
}
