import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import org.postgresql.PGConnection;

/** Reads, writes, transactions and COPY on a shared, protected table, as a tenant. */
public class Protected {
    static Connection connection;

    static void show(Object value) {
        System.out.println(value);
    }

    static void rows(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) statement.setObject(at + 1, values[at]);
            ResultSet rows = statement.executeQuery();
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                StringBuilder row = new StringBuilder();
                for (int column = 1; column <= columns; column++) row.append(rows.getString(column)).append('|');
                show(row);
            }
        }
    }

    static int change(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return statement.executeUpdate(sql);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        connection = DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
        String all = "select id, note from invoices order by id";
        show("== reads");
        rows(all);
        for (int round = 0; round < 8; round++) rows("select note, tenant_id from invoices where id = ?", 2);
        show("== writes");
        rows("insert into invoices (id, note) values (?, ?) returning id, note, tenant_id", 10, "ten");
        try (PreparedStatement insert = connection.prepareStatement("insert into invoices (id, note) values (?, ?)")) {
            for (int id = 11; id < 21; id++) {
                insert.setInt(1, id);
                insert.setString(2, "n" + id);
                insert.addBatch();
            }
            show(insert.executeBatch().length);
        }
        show(change("update invoices set note = note || '!' where id > 15"));
        show(change("delete from invoices where id = 12 or tenant_id = 2"));
        show("== transactions");
        connection.setAutoCommit(false);
        show(change("update invoices set note = 'gone'"));
        Savepoint savepoint = connection.setSavepoint();
        try {
            change("insert into invoices (id, note) values (10, 'again')");
        } catch (SQLException error) {
            show(error.getSQLState());
        }
        connection.rollback(savepoint);
        rows("select count(*) from invoices where note = 'gone'");
        connection.rollback();
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(4);
            ResultSet rows = statement.executeQuery(all);
            while (rows.next()) show(rows.getInt(1) + " " + rows.getString(2));
        }
        connection.commit();
        connection.setAutoCommit(true);
        show("== copy");
        var copy = connection.unwrap(PGConnection.class).getCopyAPI();
        show(copy.copyIn("copy invoices (id, note) from stdin", new StringReader("40\tforty\n41\t\\N\n")));
        StringWriter out = new StringWriter();
        show(copy.copyOut("copy (select id, note, tenant_id from invoices order by id) to stdout", out));
        show(out);
        show("== metadata");
        ResultSet columns = connection.getMetaData().getColumns(null, "public", "invoices", null);
        while (columns.next()) show(columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
        connection.close();
    }
}
