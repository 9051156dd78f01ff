#!/usr/bin/ruby
# ActiveRecord; see common.py.

require 'active_record'

NAME, CONNINFO, THRESHOLD_S = ARGV[0], ARGV[1], Float(ARGV[2])
KEPT = []

def rest(thresholds) = sleep(thresholds * THRESHOLD_S)

def say(*words)
  $stdout.write("#{words.join(' ')}\n")
  $stdout.flush
end

def ask(connection, sql) = connection.select_value(sql)

def lose(connection, kind)
  KEPT << connection
  say(ask(connection, 'SELECT pg_backend_pid()'), 'leaked', kind)
end

# A thread; an error ends the process.
def in_background
  Thread.new do
    yield
  rescue Exception => e # rubocop:disable Lint/RescueException
    warn e.full_message
    exit!(1)
  end
end

def pool(size)
  separator = CONNINFO.include?('?') ? '&' : '?'
  ActiveRecord::Base.establish_connection("#{CONNINFO}#{separator}pool=#{size}&idle_timeout=0&reaping_frequency=0")
  ActiveRecord::Base.connection_pool
end

# Requests from threads, as a web server has them.
def serve(connections, threads = 4)
  threads.times do
    in_background do
      loop do
        connections.with_connection { |c| ask(c, 'SELECT 1 FROM pg_sleep(0.005)') }
        rest(-Math.log(1 - rand) / 15)
      end
    end
  end
end

# A thread that takes a connection and is kept.
def beside_service(losses, kind, transaction: false)
  connections = pool(28)
  serve(connections)
  say('ready')
  rest(2)
  losses.times do
    rest(2)
    connection = connections.checkout
    connection.begin_db_transaction if transaction
    lose(connection, kind)
  end
end

# For test/t/borrower_hooks.pl: does what each line of standard input says, and answers "done".
def dialogue
  require_relative '../../contrib/borrower/active_record_borrower'
  connections = pool(1)
  connection = nil
  $stdin.each_line(chomp: true) do |line|
    case line
    when 'take' then connection = connections.checkout
    when 'give' then connections.checkin(connection)
    when 'ask' then ask(connection, 'SELECT 1')
    when 'begin' then connection.begin_db_transaction
    when 'commit' then connection.commit_db_transaction
    when 'rollback' then connection.rollback_db_transaction
    when 'fail'
      begin
        ask(connection, 'SELECT 1 / 0')
      rescue ActiveRecord::StatementInvalid
        nil
      end
    end
    say('done')
  end
end

WORKLOADS = {
  'service' => lambda {
    serve(pool(8))
    say('ready')
  },
  'transaction' => -> { beside_service(5, 'transaction', transaction: true) },
  'lost' => -> { beside_service(16, 'lost') },
  'tagged' => lambda {
    require_relative '../../contrib/borrower/active_record_borrower'
    beside_service(6, 'tagged')
  }
}.freeze

if NAME == 'dialogue'
  dialogue
else
  in_background(&WORKLOADS.fetch(NAME))
  $stdin.read
end
exit!(0)
