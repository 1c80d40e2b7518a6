package trail

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"spoor/internal/refusal"
)

// Codes of CloudTrail's exceptions.
const (
	codeName             = "InvalidTrailNameException"
	codeARN              = "CloudTrailARNInvalidException"
	codeNotFound         = "TrailNotFoundException"
	codeExists           = "TrailAlreadyExistsException"
	codeLimit            = "MaximumNumberOfTrailsExceededException"
	codeHomeRegion       = "InvalidHomeRegionException"
	codeBucketName       = "InvalidS3BucketNameException"
	codePrefix           = "InvalidS3PrefixException"
	codeCombination      = "InvalidParameterCombinationException"
	codeParameter        = "InvalidParameterException"
	codeSelectors        = "InvalidEventSelectorsException"
	codeInsights         = "InvalidInsightSelectorsException"
	codeNotMaster        = "NotOrganizationMasterAccountException"
	codeNotManagement    = "NotOrganizationManagementAccountException"
	codeNoOrganization   = "OrganizationsNotInUseException"
	codeDelegateExists   = "AccountRegisteredException"
	codeDelegateMissing  = "AccountNotRegisteredException"
	codeDelegateAccount  = "AccountNotFoundException"
	codeDelegateManager  = "CannotDelegateManagementAccountException"
	codeDelegateLimit    = "DelegatedAdminAccountLimitExceededException"
	codeTag              = "InvalidTagParameterException"
	codeTagLimit         = "TagsLimitExceededException"
	codeResourceNotFound = "ResourceNotFoundException"
	codePolicy           = "ResourcePolicyNotValidException"
	codePolicyNotFound   = "ResourcePolicyNotFoundException"
	codeConflict         = "ConflictException"
)

var (
	accountForm      = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm       = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	organizationForm = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	idForm           = regexp.MustCompile(`^[0-9a-f-]{36}$`)
	bucketForm       = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	trailARN         = regexp.MustCompile(`^arn:(aws[a-z-]*):cloudtrail:([a-z0-9-]{1,40}):([0-9]{12}):trail/(.+)$`)
	resourceForm     = regexp.MustCompile(`^arn:aws[a-z-]*:cloudtrail:[a-z0-9-]{1,40}:[0-9]{12}:(eventdatastore|channel)/[0-9a-f-]{36}$`)
	anyARN           = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:([0-9]{12})?:[^\x00-\x20]{1,512}$`)
)

func refuse(code, format string, a ...any) error { return refusal.Errorf(code, format, a...) }

// checkName refuses what is no name of a trail.
func checkName(name string) error {
	n := utf8.RuneCountInString(name)
	plain := func(b byte) bool { return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z' }
	text := ""
	switch {
	case n < 3:
		text = fmt.Sprintf("Trail name too short. Minimum allowed length: 3 characters. Specified name length: %d characters.", n)
	case n > 128:
		text = fmt.Sprintf("Trail name too long. Maximum allowed length: 128 characters. Specified name length: %d characters.", n)
	case !plain(name[0]):
		text = "Trail name must starts with a letter or number."
	case !plain(name[len(name)-1]):
		text = "Trail name must ends with a letter or number."
	case strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || !plain(byte(r)) && !strings.ContainsRune("._-", r) }):
		text = "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_)."
	case adjacent(name):
		text = "Trail name must not have adjacent periods, hyphens or underscores."
	case address(name):
		text = "Trail name must not be formatted as an IP address."
	default:
		return nil
	}
	return refuse(codeName, "%s", text)
}

func adjacent(name string) bool {
	for i := 1; i < len(name); i++ {
		if strings.IndexByte("._-", name[i]) >= 0 && strings.IndexByte("._-", name[i-1]) >= 0 {
			return true
		}
	}
	return false
}

// address reports whether a text is an IPv4 address.
func address(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// bucketName reports whether a text is the name of a bucket.
func bucketName(s string) bool {
	return bucketForm.MatchString(s) && !strings.Contains(s, "..") && !address(s)
}

const maxPrefix = 200 // characters

func checkPrefix(s string) error {
	if utf8.RuneCountInString(s) > maxPrefix {
		return refuse(codePrefix, "The S3 key prefix is longer than %d characters.", maxPrefix)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return refuse(codePrefix, "The S3 key prefix has characters that keys cannot have.")
	}
	return nil
}

// ARN is the ARN of a trail, taken apart.
type ARN struct{ Partition, Region, Account, Name string }

// String puts it together.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":cloudtrail:" + a.Region + ":" + a.Account + ":trail/" + a.Name
}

// ParseARN takes the ARN of a trail apart.
func ParseARN(text string) (ARN, error) {
	m := trailARN.FindStringSubmatch(text)
	if m == nil || checkName(m[4]) != nil {
		return ARN{}, refuse(codeARN, "%.256q is not the ARN of a trail: arn:PARTITION:cloudtrail:REGION:ACCOUNT:trail/NAME.", text)
	}
	return ARN{m[1], m[2], m[3], m[4]}, nil
}
