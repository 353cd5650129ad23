// JDBC: Parse from the first use, server-prepared names after five, portals fetched in parts, batches, COPY, savepoints.

import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Client {
  static final Map<String, String> ENV = System.getenv();

  interface Work {
    Object run() throws Exception;
  }

  static void section(String name) {
    System.out.println("== " + name);
  }

  static void show(Object... values) {
    StringJoiner line = new StringJoiner(" ");
    for (Object value : values) {
      if (value instanceof byte[] bytes) line.add(HexFormat.of().formatHex(bytes));
      else if (value instanceof Object[] array) line.add(Arrays.deepToString(array));
      else line.add(String.valueOf(value));
    }
    System.out.println(line);
  }

  static void attempt(Work work) throws Exception {
    try {
      show(work.run());
    } catch (SQLException error) {
      show(error.getClass().getSimpleName(), error.getSQLState(), error.getMessage().lines().findFirst().orElse(""));
    }
  }

  static Connection connect(String... options) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", ENV.get("PGUSER"));
    properties.setProperty("password", ENV.get("PGPASSWORD"));
    properties.setProperty("ApplicationName", "jdbc test");
    for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
    String url = "jdbc:postgresql://" + ENV.get("PGHOST") + ":" + ENV.get("PGPORT") + "/" + ENV.get("PGDATABASE");
    return DriverManager.getConnection(url, properties);
  }

  static Object value(Connection connection, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int i = 0; i < parameters.length; i++) statement.setObject(i + 1, parameters[i]);
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        return rows.getObject(1);
      }
    }
  }

  static void types(Connection c) throws Exception {
    section("types");
    for (Object value : new Object[] {
      1, 1L << 40, 1.5, new BigDecimal("1.10"), "text ☃", true, new byte[] {0, -1}, LocalDate.of(2024, 2, 29),
      LocalDateTime.of(2024, 1, 2, 3, 4, 5), OffsetDateTime.of(2024, 1, 2, 3, 4, 5, 0, ZoneOffset.UTC), new UUID(0, 7)
    }) show(value(c, "select ?", value));
    show(value(c, "select ?::int4[]", (Object) c.createArrayOf("int4", new Object[] {1, null, 3})));
    show(value(c, "select '{\"a\": [1, null]}'::jsonb"), value(c, "select null::int"), value(c, "select '1 day'::interval"));
    show(value(c, "show application_name"), value(c, "show extra_float_digits"), value(c, "show datestyle"), value(c, "show timezone"));
  }

  static void rows(Connection c) throws Exception {
    section("rows");
    try (Statement s = c.createStatement()) {
      s.execute("create table item (id serial primary key, name text unique, price numeric)");
      show(s.executeUpdate("insert into item (name, price) select 'item ' || n, n from generate_series(1, 1000) n"));
      boolean more = s.execute("select 1; update item set price = price where id < 5; select 'three'");
      while (more || s.getUpdateCount() != -1) {
        if (more) {
          s.getResultSet().next();
          show("row", s.getResultSet().getString(1));
        } else show("count", s.getUpdateCount());
        more = s.getMoreResults();
      }
    }
    try (PreparedStatement s = c.prepareStatement("insert into item (name) values (?)", Statement.RETURN_GENERATED_KEYS)) {
      s.setString(1, "with key");
      s.executeUpdate();
      s.getGeneratedKeys().next();
      ResultSet keys = s.getGeneratedKeys();
      show(keys.next() ? "more" : "one key");
    }
    try (PreparedStatement s = c.prepareStatement("select name from item where id = ?")) {
      for (int n = 1; n <= 12; n++) { // becomes a named statement at the fifth
        s.setInt(1, n);
        ResultSet r = s.executeQuery();
        r.next();
        show(r.getString(1), s.unwrap(org.postgresql.PGStatement.class).isUseServerPrepare());
      }
      show(s.getMetaData().getColumnName(1), s.getMetaData().getColumnTypeName(1), s.getParameterMetaData().getParameterTypeName(1));
    }
    try (PreparedStatement s = c.prepareStatement("insert into item (name, price) values (?, ?)")) {
      for (int n = 0; n < 700; n++) {
        s.setString(1, "batch " + n);
        s.setInt(2, n);
        s.addBatch();
      }
      show(Arrays.stream(s.executeBatch()).sum());
      s.setString(1, "batch 0");
      s.setInt(2, 0);
      s.addBatch();
      s.setString(1, "after the failure");
      s.setInt(2, 0);
      s.addBatch();
      attempt(() -> Arrays.toString(s.executeBatch()));
    }
  }

  static void metadata(Connection c) throws Exception {
    section("metadata");
    DatabaseMetaData meta = c.getMetaData();
    show(meta.getDatabaseProductName(), meta.getDatabaseMajorVersion(), meta.getUserName(), c.getCatalog(), c.getSchema());
    try (ResultSet r = meta.getColumns(null, "public", "item", null)) {
      while (r.next()) show(r.getString("COLUMN_NAME"), r.getString("TYPE_NAME"), r.getString("IS_NULLABLE"), r.getString("COLUMN_DEF"));
    }
    try (ResultSet r = meta.getIndexInfo(null, "public", "item", false, false)) {
      while (r.next()) show(r.getString("INDEX_NAME"), r.getString("COLUMN_NAME"));
    }
    try (ResultSet r = meta.getPrimaryKeys(null, "public", "item")) {
      while (r.next()) show(r.getString("COLUMN_NAME"), r.getString("PK_NAME"));
    }
  }

  static void transactions(Connection c) throws Exception {
    section("transactions");
    c.setAutoCommit(false);
    value(c, "select 1");
    Savepoint savepoint = c.setSavepoint("s");
    attempt(() -> value(c, "select 1/?", 0));
    attempt(() -> value(c, "select 1"));
    c.rollback(savepoint);
    show(value(c, "select 'recovered'"));
    c.rollback();
    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    c.setReadOnly(true);
    show(value(c, "show transaction_isolation"), value(c, "show transaction_read_only"));
    attempt(() -> c.createStatement().executeUpdate("delete from item"));
    c.rollback();
    c.setReadOnly(false);
    c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    show(value(c, "show transaction_isolation"), value(c, "show transaction_read_only"));
    c.commit();

    section("fetch size");
    try (Statement s = c.createStatement()) {
      s.setFetchSize(37);
      long sum = 0;
      try (ResultSet r = s.executeQuery("select id from item")) {
        while (r.next()) {
          sum += 1;
          if (sum == 50) show(value(c, "select 'a query between two fetches'"));
        }
      }
      show(sum);
      ResultSet abandoned = s.executeQuery("select n from generate_series(1, 100000) n");
      abandoned.next();
      abandoned.close();
      show(value(c, "select 'after an abandoned portal'"));
      ResultSet failing = s.executeQuery("select 100 / (90 - n) from generate_series(1, 100) n");
      attempt(() -> {
        int count = 0;
        while (failing.next()) count++;
        return count;
      });
    }
    c.rollback();
    try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
      ResultSet r = s.executeQuery("select id, name from item where id <= 10 order by id");
      r.absolute(5);
      r.updateString("name", "updated in place");
      r.updateRow();
      r.previous();
      show(r.getInt(1), value(c, "select name from item where id = 5"));
    }
    c.commit();
    c.setAutoCommit(true);
  }

  static void settings(Connection c) throws Exception {
    section("settings");
    try (Statement s = c.createStatement()) {
      s.execute("set timezone = 'Asia/Tokyo'");
      show(value(c, "select timestamptz '2024-01-01 00:00Z'::text"));
      s.execute("set search_path = pg_catalog, public");
      show(c.getSchema(), value(c, "show search_path"));
      c.setSchema("public");
      show(c.getSchema());
      c.setClientInfo("ApplicationName", "renamed");
      show(value(c, "show application_name"));
      s.execute("reset all");
      show(value(c, "show timezone"), value(c, "show search_path"));
      s.execute("do $$ begin raise notice 'noted'; raise warning 'warned'; end $$");
      for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) show(w.getSQLState(), w.getMessage());
    }
  }

  static void errors(Connection c) throws Exception {
    section("errors");
    attempt(() -> value(c, "select 1/?", 0));
    attempt(() -> value(c, "selec"));
    attempt(() -> value(c, "select * from nowhere"));
    attempt(() -> value(c, "insert into item (name) values ('item 1') returning 1"));
    attempt(() -> value(c, "select cast(? as int)", "x"));
    attempt(() -> value(c, "select 'goes on'"));
    try (Statement s = c.createStatement()) {
      s.setQueryTimeout(1);
      attempt(() -> s.execute("select pg_sleep(30)"));
      s.setQueryTimeout(0);
      Timer timer = new Timer(true);
      timer.schedule(new TimerTask() {
        public void run() {
          try {
            s.cancel();
          } catch (SQLException error) {
            show("cancel", error.getMessage());
          }
        }
      }, 300);
      attempt(() -> s.execute("select pg_sleep(30)"));
      timer.cancel();
    }
    show(value(c, "select 'after cancel'"));
  }

  static void copies(Connection c) throws Exception {
    section("copy");
    CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder csv = new StringBuilder();
    for (int n = 0; n < 3000; n++) csv.append("copied ").append(n).append(',').append(n).append('\n');
    show(copy.copyIn("copy item (name, price) from stdin csv", new StringReader(csv.toString())));
    StringWriter out = new StringWriter();
    show(copy.copyOut("copy (select name from item where name like 'copied 299%' order by 1) to stdout", out), out.toString().length());
    attempt(() -> copy.copyIn("copy item (price) from stdin", new ByteArrayInputStream("x\n".getBytes(StandardCharsets.UTF_8))));
    show(value(c, "select count(*) from item"));
    section("large");
    show(value(c, "select length(?)", "x".repeat(1_200_000)), ((String) value(c, "select repeat('y', 1200000)")).length());
    show(value(c, "select length(?)", new byte[1_000_000]));
  }

  static void listen(Connection c) throws Exception {
    section("listen");
    try (Connection listener = connect()) {
      listener.createStatement().execute("listen ch");
      c.createStatement().execute("notify ch, 'payload'");
      PGConnection pg = listener.unwrap(PGConnection.class);
      for (int tries = 0; tries < 100; tries++) {
        var heard = pg.getNotifications(100);
        if (heard != null && heard.length > 0) {
          show(heard[0].getName(), heard[0].getParameter());
          return;
        }
      }
      show("nothing heard");
    }
  }

  public static void main(String[] arguments) throws Exception {
    Locale.setDefault(Locale.ROOT);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    try (Connection c = connect()) {
      types(c);
      rows(c);
      metadata(c);
      transactions(c);
      settings(c);
      errors(c);
      copies(c);
      listen(c);
      show(c.isValid(5));
    }
    section("other modes of the driver");
    try (Connection c = connect("preferQueryMode", "simple", "options", "-c work_mem=7MB")) {
      show(value(c, "select ? || 'x'", "simple"), value(c, "show work_mem"));
    }
    try (Connection c = connect("prepareThreshold", "-1", "currentSchema", "pg_catalog", "assumeMinServerVersion", "15")) {
      show(value(c, "select ?::int", 1), value(c, "select ?::int", 2), value(c, "show search_path"));
    }
    try (Connection c = connect("autosave", "always", "prepareThreshold", "1")) {
      c.setAutoCommit(false);
      attempt(() -> value(c, "select 1/?", 0));
      show(value(c, "select 'saved by the driver'"));
      c.commit();
      c.createStatement().execute("create table shape (a int); insert into shape values (1)");
      c.commit();
      show(value(c, "select * from shape"), value(c, "select * from shape"));
      c.createStatement().execute("alter table shape add b int default 2");
      show(value(c, "select * from shape"));
      c.commit();
    }
    attempt(() -> connect("password", "wrong"));
  }
}
