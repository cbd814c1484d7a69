using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests.Identity;

/// <summary>SMART App Launch 2.2 scopes for resources.</summary>
public sealed class SmartScopeTests
{
    [Theory]
    [InlineData("user/Observation.rs", "user/Observation.rs")]
    [InlineData("patient/*.cruds", "patient/*.cruds")]
    [InlineData("system/AuditEvent.read", "system/AuditEvent.rs")]
    [InlineData("user/Patient.write", "user/Patient.cud")]
    [InlineData("user/Patient.*", "user/Patient.cruds")]
    [InlineData("patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory")]
    public void A_scope_is_read(string text, string expected)
    {
        Assert.True(SmartScope.TryParse(text, out var scope));
        Assert.Equal(expected, scope.ToString());
    }

    [Theory]
    [InlineData("openid")]
    [InlineData("launch/patient")]
    [InlineData("user/Observation")]
    [InlineData("user/Observation.")]
    [InlineData("user/Observation.sr")]
    [InlineData("user/Observation.rr")]
    [InlineData("user/Observation.rx")]
    [InlineData("user/observation.r")]
    [InlineData("group/Observation.r")]
    [InlineData("user/.r")]
    public void What_is_none_is_not(string text) => Assert.False(SmartScope.TryParse(text, out _));

    [Theory]
    [InlineData("user/AuditEvent.rs", 's', true)]
    [InlineData("user/*.s", 's', true)]
    [InlineData("user/AuditEvent.r", 's', false)]
    [InlineData("user/Patient.rs", 's', false)]
    [InlineData("user/AuditEvent.rs?agent=x", 's', false)]
    public void It_allows_what_it_names(string text, char interaction, bool expected)
    {
        Assert.True(SmartScope.TryParse(text, out var scope));
        Assert.Equal(expected, scope.Allows("AuditEvent", interaction));
    }
}
