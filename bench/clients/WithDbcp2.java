import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;

/** Commons DBCP2; see Jdbc.java. */
class WithDbcp2 extends Jdbc {
	@Override
	DataSource pool(int size) {
		BasicDataSource pool = new BasicDataSource();
		pool.setUrl(url);
		pool.setUsername(user);
		pool.setMaxTotal(size);
		pool.setMaxIdle(size);
		return pool;
	}

	public static void main(String[] args) throws Exception {
		new WithDbcp2().start(args);
	}
}
