import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import javax.sql.DataSource;

/** HikariCP; see Jdbc.java. */
class WithHikariCP extends Jdbc {
	static HikariConfig config(int size) {
		HikariConfig config = new HikariConfig();
		config.setJdbcUrl(url);
		config.setUsername(user);
		config.setMaximumPoolSize(size);
		return config;
	}

	/** A pool keeps what it has opened, and opens what it needs. */
	@Override
	DataSource pool(int size) {
		HikariConfig config = config(size);
		config.setMinimumIdle(Math.min(2, size));
		config.setIdleTimeout(0);
		return new HikariDataSource(config);
	}

	/** Two pools without a name of their own: one at work, and one that came before it and is hardly used. */
	void twoPools() throws Exception {
		DataSource reports = new HikariDataSource(config(1));
		try (var connection = reports.getConnection()) {
			ask(connection, "SELECT 1");
		}
		say("ready");
		rest(2);
		HikariConfig web = config(10);
		web.setMinimumIdle(2);
		serve(new DataSource[] {new HikariDataSource(web)}, 8);
		while (true) {
			rest(10);
			try (var connection = reports.getConnection()) {
				ask(connection, "SELECT 1");
			}
		}
	}

	/** A burst each 12 thresholds; what has been idle for 10 s, the least there is, goes, down to two. */
	void shrink() throws Exception {
		HikariConfig config = config(10);
		config.setMinimumIdle(2);
		config.setIdleTimeout(10000);
		DataSource pool = new HikariDataSource(config);
		serve(new DataSource[] {pool}, 3);
		say("ready");
		while (true) {
			rest(12);
			for (int i = 0; i < 10; i++)
				inBackground(() -> {
					try (var connection = pool.getConnection()) {
						ask(connection, "SELECT 1 FROM pg_sleep(0.3)");
					}
				});
		}
	}

	public static void main(String[] args) throws Exception {
		WithHikariCP program = new WithHikariCP();
		program.workloads.put("two_pools", program::twoPools);
		program.workloads.put("shrink", program::shrink);
		program.start(args);
	}
}
