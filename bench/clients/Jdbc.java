import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import javax.sql.DataSource;

/** What the programs of bench/stacks for JDBC share; see common.py. */
abstract class Jdbc {
	/** A workload. */
	interface Work {
		void run() throws Exception;
	}

	static String url;
	static String user;
	static double threshold;
	static final List<Object> KEPT = new ArrayList<>();
	final Map<String, Work> workloads = new HashMap<>();

	abstract DataSource pool(int size) throws Exception;

	static void rest(double thresholds) throws InterruptedException {
		Thread.sleep((long) (thresholds * threshold * 1000));
	}

	static synchronized void say(String line) {
		System.out.println(line);
		System.out.flush();
	}

	static String ask(Connection connection, String sql) throws SQLException {
		try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
			rows.next();
			return rows.getString(1);
		}
	}

	static void lose(DataSource pool, Connection connection, String kind) throws SQLException {
		KEPT.add(pool);
		KEPT.add(connection);
		say(ask(connection, "SELECT pg_backend_pid()") + " leaked " + kind);
	}

	/** Runs it in a thread; an error ends the process. */
	static void inBackground(Work work) {
		Thread thread = new Thread(() -> {
			try {
				work.run();
			} catch (Exception e) {
				e.printStackTrace();
				Runtime.getRuntime().halt(1);
			}
		});
		thread.setDaemon(true);
		thread.start();
	}

	/** Requests from threads, each for the pool in the array, which may change meanwhile. */
	static void serve(DataSource[] pools, int threads) {
		for (int i = 0; i < threads; i++)
			inBackground(() -> {
				while (true) {
					try (Connection connection = pools[0].getConnection()) {
						ask(connection, "SELECT 1 FROM pg_sleep(0.005)");
					}
					rest(-Math.log(1 - ThreadLocalRandom.current().nextDouble()) / 15);
				}
			});
	}

	static void besideService(DataSource pool, int n, String kind, boolean begin) throws Exception {
		serve(new DataSource[] {pool}, 4);
		say("ready");
		rest(2);
		for (int i = 0; i < n; i++) {
			rest(2);
			Connection connection = pool.getConnection();
			if (begin)
				connection.setAutoCommit(false);
			lose(pool, connection, kind);
		}
	}

	/** For test/t/borrower_hooks.pl: does what each line of standard input says, and answers "done". */
	void dialogue() throws Exception {
		DataSource pool = new BorrowerDataSource(pool(1));
		Connection connection = null;
		for (String line : (Iterable<String>) new BufferedReader(new InputStreamReader(System.in)).lines()::iterator) {
			switch (line) {
				case "take" -> connection = pool.getConnection();
				case "give" -> connection.close();
				case "ask" -> ask(connection, "SELECT 1");
				case "begin" -> connection.setAutoCommit(false);
				case "commit" -> connection.commit();
				case "rollback" -> connection.rollback();
				default -> {
					try {
						ask(connection, "SELECT 1 / 0");
					} catch (SQLException e) {
						if (!"22012".equals(e.getSQLState()))
							throw e;
					}
				}
			}
			say("done");
		}
	}

	void common() {
		workloads.put("service", () -> {
			serve(new DataSource[] {pool(8)}, 4);
			say("ready");
		});
		workloads.put("transaction", () -> besideService(pool(28), 5, "transaction", true));
		workloads.put("lost", () -> besideService(pool(28), 16, "lost", false));
		workloads.put("few", () -> besideService(pool(28), 4, "lost", false));
		workloads.put("tagged", () -> besideService(new BorrowerDataSource(pool(28)), 6, "tagged", false));
		workloads.put("per_request", () -> {
			say("ready");
			for (int i = 0; i < 20; i++) {
				rest(0.8);
				DataSource pool = pool(1);
				try (Connection connection = pool.getConnection()) {
					lose(pool, connection, "per request");
				}
			}
		});
		workloads.put("reload", () -> {
			DataSource[] current = {pool(5)};
			serve(current, 8);
			say("ready");
			for (int i = 0; i < 7; i++) {
				rest(4);
				DataSource old = current[0];
				current[0] = pool(5);
				KEPT.add(old);
				rest(0.2); // its last requests end
				List<Connection> all = new ArrayList<>();
				for (int j = 0; j < 5; j++)
					all.add(old.getConnection());
				for (Connection connection : all) {
					String pid = ask(connection, "SELECT pg_backend_pid()");
					connection.close();
					say(pid + " leaked reload");
				}
			}
		});
	}

	void start(String[] args) throws Exception {
		URI uri = new URI(args[1]);
		String name = uri.getQuery() == null ? null : uri.getQuery().replaceFirst("application_name=", "");
		url = "jdbc:postgresql://" + uri.getHost() + ":" + uri.getPort() + uri.getPath()
				+ (name == null ? "" : "?ApplicationName=" + name);
		user = uri.getUserInfo();
		threshold = Double.parseDouble(args[2]);
		common();
		if (args[0].equals("dialogue"))
			dialogue();
		else
			inBackground(workloads.get(args[0]));
		while (System.in.read() >= 0) {
		}
		Runtime.getRuntime().halt(0);
	}
}
