# Tells PostgreSQL which line of the application has a connection of ActiveRecord:
#
#   require_relative 'active_record_borrower'
#
# A line: the first one of the stack that is not of a gem. It adds a round trip when a
# thread takes a connection, which is once a request of a web server, and one when it
# gives it back.
#
#   ActiveRecordBorrower.request = 'request 8f2'     # of this thread; is said as well

require 'active_record'
require 'active_record/connection_adapters/postgresql_adapter'

module ActiveRecordBorrower
  LIBRARIES = %r{/gems/|/(active_record|active_support|active_model|monitor)[/.]|/usr/share/rubygems|<internal}.freeze

  class << self
    def request=(text)
      Thread.current[:borrower_request] = text
    end

    def borrower
      line = caller_locations.find { |l| l.path != __FILE__ && l.path !~ LIBRARIES }
      [line ? "#{File.basename(line.path)}:#{line.lineno}" : 'unknown', Thread.current[:borrower_request]].compact.join(' ')
    end

    # Outside of a transaction, which would take it back with what it rolls back.
    def say(connection, borrower)
      connection.raw_connection.exec("SET pool_exhaust.borrower = '#{borrower.gsub(/['\\]/, '_')}'")
    rescue PG::Error
      nil # the pool will find out that it is broken
    end
  end
end

adapter = ActiveRecord::ConnectionAdapters::PostgreSQLAdapter
adapter.set_callback(:checkout, :after) { ActiveRecordBorrower.say(self, ActiveRecordBorrower.borrower) }
adapter.set_callback(:checkin, :after) { ActiveRecordBorrower.say(self, '') }
