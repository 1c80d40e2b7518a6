package sample

import (
	"fmt"
	"time"
)

// Options say what to generate. The zero value of every field but Events, Bytes, Out and Sink is useful.
type Options struct {
	// Seed selects one of many organisations. The same options with the same seed give the same bytes.
	Seed uint64
	// Events is the number of distinct events, the script's included. Records are more: some are delivered twice.
	Events int
	// Bytes, instead of Events, asks for about so many bytes of JSON before compression, within a few per cent.
	Bytes int64

	// Out is the folder to write into: log files under AWSLogs/, or one file, and truth.json beside them.
	Out string
	// Sink, instead of Out, takes the files. truth.json is not written.
	Sink Sink

	// Start is the beginning of the period, on a whole day in UTC; the default is Monday 2 March 2026.
	Start time.Time
	// Days is the length of the period, 7 by default.
	Days int
	// Accounts is the number of accounts, 6 by default, 3 to 200.
	Accounts int
	// Story adds the attack and its benign look-alikes; Truth tells where they are.
	Story bool
	// TinyFiles makes log files of 1 to 5 events.
	TinyFiles bool
	// OneFile makes a single file, records.json.gz, with all events.
	OneFile bool
	// Plain leaves out compression: the files end in .json.
	Plain bool
	// Duplicates is the share of records that are delivered again in a later file; 0 means 0.001, negative none.
	Duplicates float64
	// Level is the gzip level, 1 to 9, 5 by default, which compresses like the logs of AWS do.
	Level int
	// Workers is the number of goroutines that generate, by default as many as there are processors. The bytes do not
	// depend on it. Each holds some megabytes.
	Workers int
}

func (o *Options) defaults() {
	if o.Start.IsZero() {
		o.Start = time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)
	}
	if o.Days == 0 {
		o.Days = 7
	}
	if o.Accounts == 0 {
		o.Accounts = 6
	}
	if o.Duplicates == 0 {
		o.Duplicates = 0.001
	}
	o.Duplicates = max(o.Duplicates, 0)
	if o.Level == 0 {
		o.Level = 5
	}
	if o.Bytes > 0 {
		o.Events = int(o.Bytes / meanRecordBytes)
	}
}

// meanRecordBytes is the mean length of a record and its comma; a test holds it against what is made.
const meanRecordBytes = 1680

func (o *Options) validate() error {
	switch {
	case o.Events < 1:
		return fmt.Errorf("sample: nothing to make: Events is %d", o.Events)
	case (o.Out == "") == (o.Sink == nil):
		return fmt.Errorf("sample: give either Out or Sink")
	case o.Days < 1 || o.Days > 3660:
		return fmt.Errorf("sample: Days is %d, want 1 to 3660", o.Days)
	case o.Start.Year() < 2000 || o.Start.Year() > 2200:
		return fmt.Errorf("sample: Start is in the year %d, want 2000 to 2200", o.Start.Year())
	case o.Start.Unix()%86400 != 0:
		return fmt.Errorf("sample: Start %s is not the beginning of a day in UTC", o.Start)
	case o.Accounts < minAccounts || o.Accounts > maxAccounts:
		return fmt.Errorf("sample: Accounts is %d, want %d to %d", o.Accounts, minAccounts, maxAccounts)
	case o.Duplicates > 0.5:
		return fmt.Errorf("sample: Duplicates is %g, want at most 0.5", o.Duplicates)
	case o.Level < 1 || o.Level > 9:
		return fmt.Errorf("sample: Level is %d, want 1 to 9", o.Level)
	case o.TinyFiles && o.OneFile:
		return fmt.Errorf("sample: TinyFiles and OneFile exclude each other")
	}
	return nil
}

// Truth is what was made, and what is to be found in it.
type Truth struct {
	Seed         uint64    `json:"seed"`
	Organization string    `json:"organization"`
	Start        time.Time `json:"start"`
	End          time.Time `json:"end"`
	// Events are distinct; Records counts those delivered twice twice: Records = Events + Duplicates.
	Events     int64 `json:"events"`
	Duplicates int64 `json:"duplicates"`
	Records    int64 `json:"records"`
	Files      int64 `json:"files"`
	// RawBytes is the size of the JSON, FileBytes that of the files.
	RawBytes  int64          `json:"rawBytes"`
	FileBytes int64          `json:"fileBytes"`
	Accounts  []TruthAccount `json:"accounts"`
	// Steps are the attack, in the order of time; every one should be found.
	Steps []Step `json:"steps,omitempty"`
	// Benign are look-alikes; a detection that takes one of them for the attack is too eager.
	Benign []Step `json:"benign,omitempty"`
}

// TruthAccount is an account and what was logged for it.
type TruthAccount struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Regions []TruthRegion `json:"regions"`
}

// TruthRegion counts the log files of an account in a Region, and the records in them, twice delivered ones twice. With
// OneFile, Files is 0.
type TruthRegion struct {
	Region  string `json:"region"`
	Files   int64  `json:"files"`
	Records int64  `json:"records"`
}

// Step is something that an actor did, in one or more events.
type Step struct {
	ID         string    `json:"id"`
	Title      string    `json:"title"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	Accounts   []string  `json:"accounts"`
	Actor      string    `json:"actor"` // userIdentity.arn
	Address    string    `json:"address"`
	EventNames []string  `json:"eventNames"`
	EventIDs   []string  `json:"eventIDs"`
	Failed     int       `json:"failed"` // events with an error
	// Techniques are ATT&CK ids; where ATT&CK 19 gave a technique another id, both.
	Techniques []string `json:"techniques,omitempty"`
	// Expect is what a detection should say, or why a look-alike is none.
	Expect string `json:"expect"`
}
