import java.io.IOException;
import java.net.Socket;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import javax.net.ssl.SSLSocket;
import org.postgresql.ssl.LibPQFactory;

/** pgjdbc through pgweir; see ../clients.sh. */
public final class WithPgjdbc {
    /** The driver's own factory; remembers the protocol, which the driver does not tell. */
    public static final class Recording extends LibPQFactory {
        static volatile SSLSocket last;

        public Recording(Properties info) throws org.postgresql.util.PSQLException {
            super(info);
        }

        @Override
        public Socket createSocket(Socket socket, String host, int port, boolean autoClose)
                throws IOException {
            Socket made = super.createSocket(socket, host, port, autoClose);
            last = (SSLSocket) made;
            return made;
        }
    }

    private interface Step {
        void run() throws Exception;
    }

    private static void step(String name, Step body) {
        try {
            body.run();
            System.out.println(name + " ok");
        } catch (Exception e) {
            System.out.println(name + " FAILED " + e.toString().replaceAll("\\s+", " "));
        }
    }

    private static void expect(boolean condition, Object otherwise) {
        if (!condition) {
            throw new IllegalStateException(String.valueOf(otherwise));
        }
    }

    private static Connection connect(String password, String mode) throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT")
                + "/" + System.getenv("PGDATABASE");
        Properties info = new Properties();
        info.setProperty("user", System.getenv("PGUSER"));
        info.setProperty("password", password);
        info.setProperty("sslmode", mode);
        info.setProperty("loginTimeout", "10");
        if (!mode.equals("disable")) {
            info.setProperty("sslfactory", Recording.class.getName());
        }
        if (mode.equals("verify-full")) {
            info.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        }
        return DriverManager.getConnection(url, info);
    }

    private static String sqlstate(String password, String mode) {
        try (Connection db = connect(password, mode)) {
            return "was let in";
        } catch (SQLException e) {
            return e.getSQLState();
        }
    }

    private static List<Integer> numbers(Statement statement, String sql) throws SQLException {
        List<Integer> all = new ArrayList<>();
        try (ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) {
                all.add(rows.getInt(1));
            }
        }
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        String mode = System.getenv("PGSSLMODE");
        String password = System.getenv("PGPASSWORD");
        step("plain", () -> {
            String state = sqlstate(password, "disable");
            expect("28000".equals(state), state);
        });
        step("password", () -> {
            String state = sqlstate("wrong", mode);
            expect("28P01".equals(state), state);
        });
        try (Connection db = connect(password, mode); Statement statement = db.createStatement()) {
            step("tls", () -> {
                expect(Recording.last != null, "not in use");
                System.out.println("protocol " + Recording.last.getSession().getProtocol());
            });
            step("write", () -> {
                String sql = "INSERT INTO t VALUES (?) RETURNING pg_is_in_recovery()";
                try (PreparedStatement insert = db.prepareStatement(sql)) {
                    insert.setInt(1, 1);
                    try (ResultSet rows = insert.executeQuery()) {
                        expect(rows.next() && !rows.getBoolean(1), "on the standby");
                    }
                }
            });
            // From the fifth run on the driver uses a named statement.
            step("prepared", () -> {
                String sql = "SELECT ?::int + count(*) FROM t";
                try (PreparedStatement read = db.prepareStatement(sql)) {
                    for (int n = 0; n < 20; n++) {
                        read.setInt(1, n);
                        try (ResultSet rows = read.executeQuery()) {
                            expect(rows.next() && rows.getInt(1) == n + 1, n);
                        }
                    }
                }
                try (PreparedStatement change = db.prepareStatement("UPDATE t SET id = ?")) {
                    for (int n = 0; n < 20; n++) {
                        change.setInt(1, n);
                        expect(change.executeUpdate() == 1, n);
                    }
                }
                List<Integer> rows = numbers(statement, "SELECT id FROM t");
                expect(rows.equals(List.of(19)), rows);
            });
            step("transaction", () -> {
                db.setAutoCommit(false);
                statement.executeUpdate("INSERT INTO t VALUES (2)");
                List<Integer> own = numbers(statement, "SELECT count(*) FROM t");
                expect(own.equals(List.of(2)), own);
                db.rollback();
                statement.executeUpdate("INSERT INTO t VALUES (3)");
                db.commit();
                db.setAutoCommit(true);
                List<Integer> rows = numbers(statement, "SELECT id FROM t ORDER BY id");
                expect(rows.equals(List.of(3, 19)), rows);
            });
        }
        step("read", () -> {
            Set<Boolean> seen = new HashSet<>();
            for (int n = 0; n < 40 && seen.size() < 2; n++) {
                try (Connection db = connect(password, mode);
                        Statement statement = db.createStatement();
                        ResultSet rows = statement.executeQuery("SELECT on_standby()")) {
                    rows.next();
                    seen.add(rows.getBoolean(1));
                }
            }
            expect(seen.size() == 2, "only on " + seen);
        });
    }
}
