import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.logging.Logger;
import javax.sql.DataSource;

/**
 * Tells PostgreSQL which line of the application has a connection, until it is closed, which
 * gives it back:
 *
 * <pre>DataSource pool = new BorrowerDataSource(new HikariDataSource(config));</pre>
 *
 * For HikariCP, DBCP2 and every other pool that is a DataSource. It adds a round trip when a
 * connection is taken and one when it is given back: JDBC has no way to send them with others.
 */
public class BorrowerDataSource implements DataSource {
	private static final StackWalker STACK = StackWalker.getInstance();

	private final DataSource pool;

	public BorrowerDataSource(DataSource pool) {
		this.pool = pool;
	}

	/** What is said of the caller; a subclass may add the request. */
	protected String borrower() {
		return STACK.walk(frames -> frames
				.filter(f -> !f.getClassName().startsWith(BorrowerDataSource.class.getName()))
				.findFirst().map(f -> f.getFileName() + ":" + f.getLineNumber()).orElse("unknown"));
	}

	@Override
	public Connection getConnection() throws SQLException {
		return lent(pool.getConnection());
	}

	@Override
	public Connection getConnection(String user, String password) throws SQLException {
		return lent(pool.getConnection(user, password));
	}

	private Connection lent(Connection connection) throws SQLException {
		try {
			say(connection, borrower());
		} catch (SQLException e) {
			connection.close();
			throw e;
		}
		return (Connection) Proxy.newProxyInstance(getClass().getClassLoader(), new Class<?>[] {Connection.class},
				(proxy, method, args) -> {
					if (method.getName().equals("close") && !connection.isClosed())
						empty(connection);
					try {
						return method.invoke(connection, args);
					} catch (InvocationTargetException e) {
						throw e.getCause();
					}
				});
	}

	/** A connection that cannot say it is broken, and the pool will find that out. */
	private static void empty(Connection connection) {
		try {
			if (!connection.getAutoCommit())
				connection.rollback();
			say(connection, "");
		} catch (SQLException e) {
			Logger.getLogger(BorrowerDataSource.class.getName()).fine(e.getMessage());
		}
	}

	/** Outside of a transaction, which would take it back with what it rolls back. */
	private static void say(Connection connection, String borrower) throws SQLException {
		boolean autocommit = connection.getAutoCommit();

		if (!autocommit)
			connection.setAutoCommit(true);
		try (PreparedStatement set =
				connection.prepareStatement("SELECT set_config('pool_exhaust.borrower', ?, false)")) {
			set.setString(1, borrower);
			set.execute();
		}
		if (!autocommit)
			connection.setAutoCommit(false);
	}

	@Override
	public PrintWriter getLogWriter() throws SQLException {
		return pool.getLogWriter();
	}

	@Override
	public void setLogWriter(PrintWriter out) throws SQLException {
		pool.setLogWriter(out);
	}

	@Override
	public void setLoginTimeout(int seconds) throws SQLException {
		pool.setLoginTimeout(seconds);
	}

	@Override
	public int getLoginTimeout() throws SQLException {
		return pool.getLoginTimeout();
	}

	@Override
	public Logger getParentLogger() {
		return Logger.getLogger(Logger.GLOBAL_LOGGER_NAME);
	}

	@Override
	public <T> T unwrap(Class<T> type) throws SQLException {
		return type.isInstance(pool) ? type.cast(pool) : pool.unwrap(type);
	}

	@Override
	public boolean isWrapperFor(Class<?> type) throws SQLException {
		return type.isInstance(pool) || pool.isWrapperFor(type);
	}
}
