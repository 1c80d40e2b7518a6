package app

import (
	"context"
	"fmt"
	"time"

	"spoor/internal/metrics"
	"spoor/internal/topic"
	"spoor/internal/trail/delivery"
)

// trailFigures are those of the deliveries of trails.
func (a *App) trailFigures() metrics.Part {
	c, g := metrics.Counter, metrics.Gauge
	table := figures[delivery.Stats]{
		{metrics.Family{Name: "spoor_trails_read_sequence", Kind: g, Help: "Sequence of the journal up to which trails have looked at it."}, func(s *delivery.Stats) float64 { return float64(s.Read) }},
		{metrics.Family{Name: "spoor_trails_reached_sequence", Kind: g, Help: "Sequence up to which what trails take is in complete log files on disk."}, func(s *delivery.Stats) float64 { return float64(s.Reached) }},
		{metrics.Family{Name: "spoor_trails_records_total", Kind: c, Help: "Records that were looked at for trails."}, func(s *delivery.Stats) float64 { return float64(s.Records) }},
		{metrics.Family{Name: "spoor_trails_events_total", Kind: c, Help: "Of them, those that some trail takes."}, func(s *delivery.Stats) float64 { return float64(s.Events) }},
		{metrics.Family{Name: "spoor_trails_undecodable_total", Kind: c, Help: "Records that are no events, which no trail can take."}, func(s *delivery.Stats) float64 { return float64(s.Undecodable) }},
		{metrics.Family{Name: "spoor_trails_unplaced_total", Kind: c, Help: "Events without a usable account or Region, filed under those of the installation."}, func(s *delivery.Stats) float64 { return float64(s.Unplaced) }},
		{metrics.Family{Name: "spoor_trails_lost_sequences_total", Kind: c, Help: "Sequences that the journal could not give any more."}, func(s *delivery.Stats) float64 { return float64(s.Lost) }},
		{metrics.Family{Name: "spoor_trails_cuts_total", Kind: c, Help: "Times that the log files under way were completed."}, func(s *delivery.Stats) float64 { return float64(s.Cuts) }},
		{metrics.Family{Name: "spoor_trails_open_files", Kind: g, Help: "Log files under way."}, func(s *delivery.Stats) float64 { return float64(s.OpenFiles) }},
		{metrics.Family{Name: "spoor_trails_buffered_bytes", Kind: g, Help: "Bytes of records in memory."}, func(s *delivery.Stats) float64 { return float64(s.Buffered) }},
		{metrics.Family{Name: "spoor_trails_spool_bytes", Kind: g, Help: "Bytes of complete log files on disk that wait for their buckets."}, func(s *delivery.Stats) float64 { return float64(s.Spool) }},
		{metrics.Family{Name: "spoor_trails_spool_full", Kind: g, Help: "1 when trails.max_spool is used up, so that nothing more is read from the journal."}, func(s *delivery.Stats) float64 { return truth(s.Full) }},
	}
	by := []string{"trail"}
	trails := figures[delivery.TrailStats]{
		{metrics.Family{Name: "spoor_trail_events_total", Kind: c, Help: "Events in complete log files of a trail.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.Taken) }},
		{metrics.Family{Name: "spoor_trail_files_total", Kind: c, Help: "Log files that its bucket took.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.Files) }},
		{metrics.Family{Name: "spoor_trail_bytes_total", Kind: c, Help: "Bytes of those files, compressed.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.Bytes) }},
		{metrics.Family{Name: "spoor_trail_failures_total", Kind: c, Help: "Times that its bucket did not take a file.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.Failures) }},
		{metrics.Family{Name: "spoor_trail_pending_files", Kind: g, Help: "Complete log files that wait for its bucket.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.PendingFiles) }},
		{metrics.Family{Name: "spoor_trail_pending_bytes", Kind: g, Help: "Bytes of those.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.PendingBytes) }},
		{metrics.Family{Name: "spoor_trail_given_up_total", Kind: c, Help: "Log files that were given up: 0 unless somebody bounds the time.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.GivenUp) }},
		{metrics.Family{Name: "spoor_trail_notices_total", Kind: c, Help: "Notices that its topic took.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.Notices) }},
		{metrics.Family{Name: "spoor_trail_pending_notices", Kind: g, Help: "Notices that wait for its topic.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.PendingNotices) }},
		{metrics.Family{Name: "spoor_trail_digests_total", Kind: c, Help: "Digest files that its bucket took.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.Digests) }},
		{metrics.Family{Name: "spoor_trail_pending_digests", Kind: g, Help: "Digest files that wait for its bucket.", Labels: by}, func(s *delivery.TrailStats) float64 { return float64(s.PendingDigests) }},
	}
	p := metrics.Part{Name: "trails"}
	p.Families = append(p.Families, table.families()...)
	p.Families = append(p.Families, trails.families()...)
	p.Read = func(_ context.Context, put metrics.Put) error {
		if a.trails.delivery == nil {
			return nil
		}
		s := a.trails.delivery.Stats()
		table.put(put, &s)
		for i := range s.Trails {
			trails.put(put, &s.Trails[i], s.Trails[i].ARN)
		}
		return nil
	}
	return p
}

// topicFigures are those of the topics.
func (a *App) topicFigures() metrics.Part {
	type totals struct {
		topic.Figures
		outbox int64
	}
	c, g := metrics.Counter, metrics.Gauge
	table := figures[totals]{
		{metrics.Family{Name: "spoor_topics_delivered_total", Kind: c, Help: "Messages that endpoints of subscriptions took."}, func(f *totals) float64 { return float64(f.Delivered) }},
		{metrics.Family{Name: "spoor_topics_filtered_total", Kind: c, Help: "Messages that subscriptions did not want, by their filter policies."}, func(f *totals) float64 { return float64(f.Filtered) }},
		{metrics.Family{Name: "spoor_topics_given_up_total", Kind: c, Help: "Messages that were given up, and are dead letters."}, func(f *totals) float64 { return float64(f.GivenUp) }},
		{metrics.Family{Name: "spoor_topics_damaged_total", Kind: c, Help: "Messages that could not be read any more."}, func(f *totals) float64 { return float64(f.Damaged) }},
		{metrics.Family{Name: "spoor_topics_open", Kind: g, Help: "Messages that are being delivered, or wait to be tried again."}, func(f *totals) float64 { return float64(f.Open) }},
		{metrics.Family{Name: "spoor_topics_outbox_bytes", Kind: g, Help: "Bytes of messages that are kept until they are delivered."}, func(f *totals) float64 { return float64(f.outbox) }},
	}
	p := metrics.Part{Name: "topics"}
	p.Families = append(p.Families, table.families()...)
	p.Read = func(_ context.Context, put metrics.Put) error {
		if a.trails.topics == nil {
			return nil
		}
		sum, outbox := a.trails.topics.Totals()
		table.put(put, &totals{sum, outbox})
		return nil
	}
	return p
}

// trailState is how the deliveries of trails are doing. That a bucket refuses is no fault of the service; that nothing is read
// from the journal any more is.
func (a *App) trailState(now time.Time) (string, error) {
	s := a.trails.delivery.Stats()
	if s.Full {
		return "", fmt.Errorf("trails.max_spool is used up by log files that buckets do not take, %s: nothing more is read from the journal for trails", roundSize(s.Spool))
	}
	files, since := 0, time.Time{}
	for i := range s.Trails {
		t := &s.Trails[i]
		files += t.PendingFiles
		if !t.PendingSince.IsZero() && (since.IsZero() || t.PendingSince.Before(since)) {
			since = t.PendingSince
		}
	}
	if files == 0 {
		return fmt.Sprintf("%d trails, no file waits", len(s.Trails)), nil
	}
	return fmt.Sprintf("%d trails, %d files wait for their buckets, the oldest for %s", len(s.Trails), files, now.Sub(since).Round(time.Second)), nil
}
