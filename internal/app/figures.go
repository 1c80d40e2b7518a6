package app

import (
	"context"

	"spoor/internal/console"
	"spoor/internal/journal"
	"spoor/internal/lakequery"
	"spoor/internal/livetail"
	"spoor/internal/metrics"
	"spoor/internal/store"
)

// Metrics lists the figures that a server gives to Prometheus, but for those of the Go runtime and of the process.
func Metrics() []metrics.Family { return metrics.Families((&App{}).figures()...) }

// figures are the parts of the registry.
func (a *App) figures() []metrics.Part {
	return []metrics.Part{a.appFigures(), a.journalFigures(), a.sourceFigures(), a.tailFigures(), a.recorderFigures(), a.storeFigures(), a.queryFigures(), a.lakeFigures(), a.trailFigures(), a.topicFigures()}
}

func (a *App) appFigures() metrics.Part {
	return metrics.Part{
		Name: "app",
		Families: []metrics.Family{
			{Name: "spoor_build_info", Kind: metrics.Gauge, Help: "1, with the version that runs.", Labels: []string{"version", "commit"}},
			{Name: "spoor_start_time_seconds", Kind: metrics.Gauge, Help: "When the service was started, in seconds since 1970."},
			{Name: "spoor_ready", Kind: metrics.Gauge, Help: "1 when the service is ready, as /readyz tells."},
			{Name: "spoor_reloads_total", Kind: metrics.Counter, Help: "Times that the configuration was read again, by outcome.", Labels: []string{"outcome"}},
		},
		Read: func(ctx context.Context, put metrics.Put) error {
			put("spoor_build_info", 1, a.opts.Version, a.opts.Commit)
			put("spoor_start_time_seconds", float64(a.began.UnixMilli())/1000)
			put("spoor_ready", truth(len(a.reasons(ctx)) == 0))
			put("spoor_reloads_total", float64(a.reloads.Load()), "applied")
			put("spoor_reloads_total", float64(a.refused.Load()), "refused")
			return nil
		},
	}
}

// figures are families that are read from values of one type.
type figures[S any] []struct {
	family metrics.Family
	value  func(*S) float64
}

func (t figures[S]) families() (out []metrics.Family) {
	for _, f := range t {
		out = append(out, f.family)
	}
	return out
}

func (t figures[S]) put(put metrics.Put, of *S, labels ...string) {
	for _, f := range t {
		put(f.family.Name, f.value(of), labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (a *App) journalFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	table := figures[journal.Stats]{
		{metrics.Family{Name: "spoor_journal_first_sequence", Kind: g, Help: "Sequence of the oldest entry."}, func(s *journal.Stats) float64 { return float64(s.First) }},
		{metrics.Family{Name: "spoor_journal_last_sequence", Kind: g, Help: "Sequence of the newest entry."}, func(s *journal.Stats) float64 { return float64(s.Last) }},
		{metrics.Family{Name: "spoor_journal_bytes", Kind: g, Help: "Size of the stream in bytes."}, func(s *journal.Stats) float64 { return float64(s.Bytes) }},
		{metrics.Family{Name: "spoor_journal_failing", Kind: g, Help: "1 when the last write failed."}, func(s *journal.Stats) float64 { return truth(s.Err != nil) }},
		{metrics.Family{Name: "spoor_journal_appends_total", Kind: c, Help: "Appends that were accepted."}, func(s *journal.Stats) float64 { return float64(s.Appends) }},
		{metrics.Family{Name: "spoor_journal_duplicate_appends_total", Kind: c, Help: "Appends that were accepted before, and not again."}, func(s *journal.Stats) float64 { return float64(s.Duplicates) }},
		{metrics.Family{Name: "spoor_journal_records_total", Kind: c, Help: "Records that were accepted."}, func(s *journal.Stats) float64 { return float64(s.Records) }},
		{metrics.Family{Name: "spoor_journal_record_bytes_total", Kind: c, Help: "Bytes of those records, with where they came from."}, func(s *journal.Stats) float64 { return float64(s.RecordBytes) }},
		{metrics.Family{Name: "spoor_journal_stored_bytes_total", Kind: c, Help: "Bytes of those records as they were written, compressed."}, func(s *journal.Stats) float64 { return float64(s.StoredBytes) }},
		{metrics.Family{Name: "spoor_journal_writes_total", Kind: c, Help: "Entries that were written and synced; appends share them."}, func(s *journal.Stats) float64 { return float64(s.Writes) }},
		{metrics.Family{Name: "spoor_journal_write_seconds_total", Kind: c, Help: "Seconds that those writes took, with their syncs."}, func(s *journal.Stats) float64 { return s.WriteTime.Seconds() }},
		{metrics.Family{Name: "spoor_journal_write_retries_total", Kind: c, Help: "Writes that were tried again."}, func(s *journal.Stats) float64 { return float64(s.Retries) }},
		{metrics.Family{Name: "spoor_journal_refused_appends_total", Kind: c, Help: "Appends that were not accepted for want of room; their senders were told to come again."}, func(s *journal.Stats) float64 { return float64(s.Refused) }},
		{metrics.Family{Name: "spoor_journal_restarts_total", Kind: c, Help: "Times that the journal's server in this process was restarted after it had failed."}, func(s *journal.Stats) float64 { return float64(s.Restarts) }},
		{metrics.Family{Name: "spoor_journal_damaged_files_total", Kind: c, Help: "Files of the journal that were not whole."}, func(s *journal.Stats) float64 { return float64(s.DamagedFiles) }},
		{metrics.Family{Name: "spoor_journal_salvaged_appends_total", Kind: c, Help: "Appends that were saved from them."}, func(s *journal.Stats) float64 { return float64(s.Salvaged) }},
		{metrics.Family{Name: "spoor_journal_lost_at_end_total", Kind: c, Help: "Sequences that were given before and were not there any more when the journal was opened."}, func(s *journal.Stats) float64 { return float64(s.LostAtEnd) }},
		{metrics.Family{Name: "spoor_journal_removed_sequences_total", Kind: c, Help: "Sequences that retention removed."}, func(s *journal.Stats) float64 { return float64(s.Removed) }},
		{metrics.Family{Name: "spoor_journal_dropped_sequences_total", Kind: c, Help: "Of those, the ones that a follower had not read (journal.drop_unread)."}, func(s *journal.Stats) float64 { return float64(s.Dropped) }},
	}
	by := []string{"follower"}
	followers := figures[journal.FollowerStats]{
		{metrics.Family{Name: "spoor_journal_follower_active", Kind: g, Help: "1 when somebody follows under the name.", Labels: by}, func(f *journal.FollowerStats) float64 { return truth(f.Active) }},
		{metrics.Family{Name: "spoor_journal_follower_cursor", Kind: g, Help: "Sequence up to which the follower has acknowledged.", Labels: by}, func(f *journal.FollowerStats) float64 { return float64(f.Cursor) }},
		{metrics.Family{Name: "spoor_journal_follower_lag", Kind: g, Help: "Sequences that it has not acknowledged.", Labels: by}, func(f *journal.FollowerStats) float64 { return float64(f.Lag) }},
		{metrics.Family{Name: "spoor_journal_follower_age_seconds", Kind: g, Help: "Age of the oldest entry that it has not acknowledged, in seconds.", Labels: by}, func(f *journal.FollowerStats) float64 { return f.Age.Seconds() }},
		{metrics.Family{Name: "spoor_journal_follower_redelivered_total", Kind: c, Help: "Entries that it was given again.", Labels: by}, func(f *journal.FollowerStats) float64 { return float64(f.Redelivered) }},
		{metrics.Family{Name: "spoor_journal_follower_lost_total", Kind: c, Help: "Sequences that could not be read for it.", Labels: by}, func(f *journal.FollowerStats) float64 { return float64(f.Lost) }},
		{metrics.Family{Name: "spoor_journal_follower_abandoned_total", Kind: c, Help: "Entries that were begun and not finished; none of them was accepted.", Labels: by}, func(f *journal.FollowerStats) float64 { return float64(f.Abandoned) }},
	}
	p := metrics.Part{Name: "journal"}
	p.Families = append(p.Families, table.families()...)
	p.Families = append(p.Families, followers.families()...)
	p.Read = func(ctx context.Context, put metrics.Put) error {
		s, err := a.journal.Stats(ctx)
		if err != nil {
			return err
		}
		table.put(put, &s)
		for i := range s.Followers {
			followers.put(put, &s.Followers[i], s.Followers[i].Name)
		}
		return nil
	}
	return p
}

func (a *App) sourceFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	by := []string{"source", "type"}
	table := figures[console.SourceStatus]{
		{metrics.Family{Name: "spoor_source_up", Kind: g, Help: "1 when the source runs; 0 when it is paused, disabled or has failed.", Labels: by}, func(s *console.SourceStatus) float64 { return truth(s.State == string(sourceRunning)) }},
		{metrics.Family{Name: "spoor_source_failed", Kind: g, Help: "1 when the source has failed, and is tried again after a while.", Labels: by}, func(s *console.SourceStatus) float64 { return truth(s.State == string(sourceFailed)) }},
		{metrics.Family{Name: "spoor_source_objects_total", Kind: c, Help: "Objects, messages or requests that are settled.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Objects) }},
		{metrics.Family{Name: "spoor_source_objects_failed_total", Kind: c, Help: "Of those, the ones that were given up.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Stats.Failed) }},
		{metrics.Family{Name: "spoor_source_records_total", Kind: c, Help: "Records that were accepted; again when an object was read again.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Records) }},
		{metrics.Family{Name: "spoor_source_bytes_total", Kind: c, Help: "Bytes of those records.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Bytes) }},
		{metrics.Family{Name: "spoor_source_rejected_total", Kind: c, Help: "Malformed records.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Rejected) }},
		{metrics.Family{Name: "spoor_source_in_flight", Kind: g, Help: "Objects, messages or requests that are being worked on.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.InFlight) }},
		{metrics.Family{Name: "spoor_source_backlog", Kind: g, Help: "What is known to wait; absent when that is not known.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Backlog) }},
		{metrics.Family{Name: "spoor_source_lag_seconds", Kind: g, Help: "How far behind the source is, in seconds.", Labels: by}, func(s *console.SourceStatus) float64 { return s.Lag.Seconds() }},
		{metrics.Family{Name: "spoor_source_retries_total", Kind: c, Help: "Objects and messages that were left to be tried again.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Retries) }},
		{metrics.Family{Name: "spoor_source_waits_total", Kind: c, Help: "Times that there was no room in the journal.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Waits) }},
		{metrics.Family{Name: "spoor_source_errors_total", Kind: c, Help: "Errors.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.Errors) }},
		{metrics.Family{Name: "spoor_source_last_success_timestamp_seconds", Kind: g, Help: "When an object was last settled well, or a look found nothing new, in seconds since 1970; absent before.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.LastSuccess.UnixMilli()) / 1000 }},
		{metrics.Family{Name: "spoor_source_dead_letters", Kind: g, Help: "Dead letters that are kept.", Labels: by}, func(s *console.SourceStatus) float64 { return float64(s.DeadLetters) }},
	}
	p := metrics.Part{Name: "sources"}
	p.Families = append(p.Families, table.families()...)
	p.Read = func(_ context.Context, put metrics.Put) error {
		for _, s := range a.sources.List() {
			for _, f := range table {
				if f.family.Name == "spoor_source_backlog" && s.Backlog < 0 || f.family.Name == "spoor_source_last_success_timestamp_seconds" && s.LastSuccess.IsZero() {
					continue
				}
				put(f.family.Name, f.value(&s), s.Name, s.Kind)
			}
		}
		return nil
	}
	return p
}

func (a *App) tailFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	table := figures[livetail.Stats]{
		{metrics.Family{Name: "spoor_tail_subscribers", Kind: g, Help: "Live tails of now."}, func(s *livetail.Stats) float64 { return float64(s.Subscribers) }},
		{metrics.Family{Name: "spoor_tail_resuming", Kind: g, Help: "Of them, those that have not caught up yet."}, func(s *livetail.Stats) float64 { return float64(s.Resuming) }},
		{metrics.Family{Name: "spoor_tail_records_total", Kind: c, Help: "Records that were read for live tails."}, func(s *livetail.Stats) float64 { return float64(s.Records) }},
		{metrics.Family{Name: "spoor_tail_unreadable_total", Kind: c, Help: "Of them, those that are no event."}, func(s *livetail.Stats) float64 { return float64(s.Unreadable) }},
		{metrics.Family{Name: "spoor_tail_given_total", Kind: c, Help: "Events that were given to live tails, counted for each."}, func(s *livetail.Stats) float64 { return float64(s.Given) }},
		{metrics.Family{Name: "spoor_tail_dropped_total", Kind: c, Help: "Events that were left out because a reader was too slow, which it was told."}, func(s *livetail.Stats) float64 { return float64(s.Dropped) }},
		{metrics.Family{Name: "spoor_tail_gaps_total", Kind: c, Help: "Times that a reader was told that events may be missing that nobody counted."}, func(s *livetail.Stats) float64 { return float64(s.Gaps) }},
		{metrics.Family{Name: "spoor_tail_resumed_total", Kind: c, Help: "Live tails that went on behind a position."}, func(s *livetail.Stats) float64 { return float64(s.Resumed) }},
	}
	p := metrics.Part{Name: "tail"}
	p.Families = append(p.Families, table.families()...)
	p.Read = func(_ context.Context, put metrics.Put) error {
		s := a.tail.Stats()
		table.put(put, &s)
		return nil
	}
	return p
}

func (a *App) recorderFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	return metrics.Part{
		Name: "recorder",
		Families: []metrics.Family{
			{Name: "spoor_recorder_events_total", Kind: c, Help: "Calls to the service itself that were recorded as events."},
			{Name: "spoor_recorder_failures_total", Kind: c, Help: "Calls that could not be recorded; a change that cannot be is not made."},
			{Name: "spoor_recorder_counted_refusals_total", Kind: c, Help: "Refusals that were counted into an event with others."},
			{Name: "spoor_recorder_waiting_refusals", Kind: g, Help: "Refusals that are counted, and whose event is yet to be written."},
		},
		Read: func(_ context.Context, put metrics.Put) error {
			s := a.recorder.Stats()
			put("spoor_recorder_events_total", float64(s.Recorded))
			put("spoor_recorder_failures_total", float64(s.Failed))
			put("spoor_recorder_counted_refusals_total", float64(s.Counted))
			put("spoor_recorder_waiting_refusals", float64(s.Waiting))
			return nil
		},
	}
}

func (a *App) storeFigures() metrics.Part {
	type stats struct {
		*store.LiveStats
		m *store.MaintainStats
	}
	c, g := metrics.Counter, metrics.Gauge
	table := figures[stats]{
		{metrics.Family{Name: "spoor_store_hot_rows", Kind: g, Help: "Events that are in answers, and not in data files yet."}, func(l *stats) float64 { return float64(l.HotRows) }},
		{metrics.Family{Name: "spoor_store_hot_files", Kind: g, Help: "Files that they are in."}, func(l *stats) float64 { return float64(l.HotFiles) }},
		{metrics.Family{Name: "spoor_store_hot_bytes", Kind: g, Help: "Bytes of those files."}, func(l *stats) float64 { return float64(l.HotBytes) }},
		{metrics.Family{Name: "spoor_store_hot_full", Kind: g, Help: "1 while nothing is taken from the journal, as there are too many of them (store.max_hot_rows)."}, func(l *stats) float64 { return truth(l.Full) }},
		{metrics.Family{Name: "spoor_store_waiting_rows", Kind: g, Help: "Events that were taken from the journal and are not in answers yet."}, func(l *stats) float64 { return float64(l.Waiting) }},
		{metrics.Family{Name: "spoor_store_unsearchable_seconds", Kind: g, Help: "How long ago the oldest event was accepted that was taken from the journal and is not in answers yet, in seconds."}, func(l *stats) float64 { return l.Oldest.Seconds() }},
		{metrics.Family{Name: "spoor_store_taken_sequence", Kind: g, Help: "Sequence of the journal up to which events were taken."}, func(l *stats) float64 { return float64(l.Taken) }},
		{metrics.Family{Name: "spoor_store_published_sequence", Kind: g, Help: "Sequence up to which they are in answers."}, func(l *stats) float64 { return float64(l.Published) }},
		{metrics.Family{Name: "spoor_store_committed_sequence", Kind: g, Help: "Sequence up to which they are in data files."}, func(l *stats) float64 { return float64(l.Committed) }},
		{metrics.Family{Name: "spoor_store_records_total", Kind: c, Help: "Records that were taken from the journal."}, func(l *stats) float64 { return float64(l.Records) }},
		{metrics.Family{Name: "spoor_store_kept_total", Kind: c, Help: "Of them, those that were kept."}, func(l *stats) float64 { return float64(l.Kept) }},
		{metrics.Family{Name: "spoor_store_duplicates_total", Kind: c, Help: "Of them, those that the store had."}, func(l *stats) float64 { return float64(l.Duplicates) }},
		{metrics.Family{Name: "spoor_store_rejected_total", Kind: c, Help: "Of them, those that cannot be read; they are kept in the folder rejects of the store."}, func(l *stats) float64 { return float64(l.Rejected) }},
		{metrics.Family{Name: "spoor_store_lost_sequences_total", Kind: c, Help: "Sequences that the journal could not give."}, func(l *stats) float64 { return float64(l.Lost) }},
		{metrics.Family{Name: "spoor_store_publications_total", Kind: c, Help: "Times that events became part of answers."}, func(l *stats) float64 { return float64(l.Publications) }},
		{metrics.Family{Name: "spoor_store_hot_merges_total", Kind: c, Help: "Times that hot files were merged."}, func(l *stats) float64 { return float64(l.Merges) }},
		{metrics.Family{Name: "spoor_store_hot_rebuilt_total", Kind: c, Help: "Hot files that were damaged and were made again from the journal."}, func(l *stats) float64 { return float64(l.Rebuilt) }},
		{metrics.Family{Name: "spoor_store_flushes_total", Kind: c, Help: "Times that hot events were written to data files and committed."}, func(l *stats) float64 { return float64(l.Flushes) }},
		{metrics.Family{Name: "spoor_store_flushed_rows_total", Kind: c, Help: "Events that were."}, func(l *stats) float64 { return float64(l.FlushedRows) }},
		{metrics.Family{Name: "spoor_store_flush_seconds_total", Kind: c, Help: "Seconds that it took."}, func(l *stats) float64 { return l.FlushTimeAll.Seconds() }},
		{metrics.Family{Name: "spoor_store_last_flush_seconds", Kind: g, Help: "Seconds that the last one took."}, func(l *stats) float64 { return l.FlushTime.Seconds() }},
		{metrics.Family{Name: "spoor_store_failures_total", Kind: c, Help: "Publications, merges and flushes that failed; they are tried again."}, func(l *stats) float64 { return float64(l.Failures) }},
		{metrics.Family{Name: "spoor_store_bytes", Kind: g, Help: "Bytes that the store takes, as of the last retention."}, func(l *stats) float64 { return float64(l.m.Bytes) }},
		{metrics.Family{Name: "spoor_store_bytes_over_limit", Kind: g, Help: "Bytes beyond store.retention.max_size that may not go, as of the last retention."}, func(l *stats) float64 { return float64(l.m.Over) }},
		{metrics.Family{Name: "spoor_store_days_held", Kind: g, Help: "Days that would have gone but for a hold, as of the last retention."}, func(l *stats) float64 { return float64(l.m.DaysHeld) }},
		{metrics.Family{Name: "spoor_store_damaged_files", Kind: g, Help: "Files that could not be read, the last time that the store was looked after."}, func(l *stats) float64 { return float64(l.m.Damaged) }},
		{metrics.Family{Name: "spoor_store_compacted_rows_total", Kind: c, Help: "Events that compaction wrote anew."}, func(l *stats) float64 { return float64(l.m.Totals.RowsCompacted) }},
		{metrics.Family{Name: "spoor_store_compacted_files_total", Kind: c, Help: "Files that compaction merged."}, func(l *stats) float64 { return float64(l.m.Totals.FilesMerged) }},
		{metrics.Family{Name: "spoor_store_removed_rows_total", Kind: c, Help: "Events that retention removed."}, func(l *stats) float64 { return float64(l.m.Totals.RowsRemoved) }},
		{metrics.Family{Name: "spoor_store_deleted_files_total", Kind: c, Help: "Files that expiry deleted."}, func(l *stats) float64 { return float64(l.m.Totals.FilesDeleted) }},
		{metrics.Family{Name: "spoor_store_deleted_bytes_total", Kind: c, Help: "Bytes of those files."}, func(l *stats) float64 { return float64(l.m.Totals.BytesDeleted) }},
	}
	type job struct {
		family metrics.Family
		value  func(j *store.JobStats) (float64, bool)
	}
	by := []string{"job"}
	jobs := []job{
		{metrics.Family{Name: "spoor_store_job_runs_total", Kind: c, Help: "Times that a job of the store's upkeep ended well.", Labels: by}, func(j *store.JobStats) (float64, bool) { return float64(j.Runs), true }},
		{metrics.Family{Name: "spoor_store_job_failures_total", Kind: c, Help: "Times that it failed; it is tried again.", Labels: by}, func(j *store.JobStats) (float64, bool) { return float64(j.Failures), true }},
		{metrics.Family{Name: "spoor_store_job_running", Kind: g, Help: "1 while it runs.", Labels: by}, func(j *store.JobStats) (float64, bool) { return truth(j.Running), true }},
		{metrics.Family{Name: "spoor_store_job_last_seconds", Kind: g, Help: "Seconds that it took the last time.", Labels: by}, func(j *store.JobStats) (float64, bool) { return j.Took.Seconds(), true }},
		{metrics.Family{Name: "spoor_store_job_last_end_timestamp_seconds", Kind: g, Help: "When it ended the last time, in seconds since 1970; absent before.", Labels: by}, func(j *store.JobStats) (float64, bool) {
			return float64(j.Ended.UnixMilli()) / 1000, !j.Ended.IsZero()
		}},
	}
	p := metrics.Part{Name: "store"}
	p.Families = append(p.Families, table.families()...)
	for _, f := range jobs {
		p.Families = append(p.Families, f.family)
	}
	p.Read = func(_ context.Context, put metrics.Put) error {
		if a.live == nil {
			return nil
		}
		l, m := a.live.Stats(), a.maintenance.Stats()
		table.put(put, &stats{&l, &m})
		for name, j := range map[string]*store.JobStats{"compact": &m.Compact, "expire": &m.Expire} {
			for _, f := range jobs {
				if v, ok := f.value(j); ok {
					put(f.family.Name, v, name)
				}
			}
		}
		return nil
	}
	return p
}

func (a *App) queryFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	return metrics.Part{
		Name: "query",
		Families: []metrics.Family{
			{Name: "spoor_query_questions_total", Kind: c, Help: "Questions that were asked: searches, counts, SQL."},
			{Name: "spoor_query_refused_total", Kind: c, Help: "Of them, those that were refused as too many others were being answered."},
			{Name: "spoor_query_running", Kind: g, Help: "Questions that are being answered."},
			{Name: "spoor_query_waiting", Kind: g, Help: "Questions that wait for their turn."},
		},
		Read: func(_ context.Context, put metrics.Put) error {
			if a.query == nil {
				return nil
			}
			s := a.query.Stats()
			put("spoor_query_questions_total", float64(s.Asked))
			put("spoor_query_refused_total", float64(s.Refused))
			put("spoor_query_running", float64(s.Running))
			put("spoor_query_waiting", float64(s.Waiting))
			return nil
		},
	}
}

func (a *App) lakeFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	table := figures[lakequery.Stats]{
		{metrics.Family{Name: "spoor_lake_queries_queued", Kind: g, Help: "Queries of event data stores that wait for their turn."}, func(s *lakequery.Stats) float64 { return float64(s.Queued) }},
		{metrics.Family{Name: "spoor_lake_queries_running", Kind: g, Help: "Queries of event data stores that run."}, func(s *lakequery.Stats) float64 { return float64(s.Running) }},
		{metrics.Family{Name: "spoor_lake_queries_kept", Kind: g, Help: "Queries of event data stores that are kept, ended ones with their results."}, func(s *lakequery.Stats) float64 { return float64(s.Kept) }},
		{metrics.Family{Name: "spoor_lake_queries_bytes", Kind: g, Help: "Bytes that they take."}, func(s *lakequery.Stats) float64 { return float64(s.Bytes) }},
		{metrics.Family{Name: "spoor_lake_queries_started_total", Kind: c, Help: "Queries of event data stores that were started."}, func(s *lakequery.Stats) float64 { return float64(s.Started) }},
		{metrics.Family{Name: "spoor_lake_queries_ended_total", Kind: c, Help: "Of them, those that ended, however."}, func(s *lakequery.Stats) float64 { return float64(s.Ended) }},
		{metrics.Family{Name: "spoor_lake_queries_failed_total", Kind: c, Help: "Of those, the ones that failed or timed out."}, func(s *lakequery.Stats) float64 { return float64(s.Failed) }},
	}
	p := metrics.Part{Name: "lake"}
	p.Families = append(p.Families, table.families()...)
	p.Read = func(_ context.Context, put metrics.Put) error {
		if a.lakeQueries == nil {
			return nil
		}
		s := a.lakeQueries.Stats()
		for _, f := range table {
			put(f.family.Name, float64(f.value(&s)))
		}
		return nil
	}
	return p
}
